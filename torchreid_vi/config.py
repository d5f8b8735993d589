"""Every setting: torchreid's keys and ours, and how a file and the command line change them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from contextlib import suppress
from difflib import get_close_matches
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from yacs.config import CfgNode as CN

from torchreid_vi.errors import InputError


def default_config() -> CN:
    """The defaults. Keys that torchreid has keep its name and meaning, and but for ``loss.name`` and the
    datasets also its default."""
    cfg = CN()

    cfg.model = CN()
    cfg.model.name = "resnet50"  # torchreid's name of the backbone, or of the model of its own engines
    cfg.model.pretrained = True  # start from the ImageNet weights that torchreid downloads
    cfg.model.load_weights = ""  # file to start from, or to evaluate
    cfg.model.load_stem = "average"  # of two streams, for a model of one: average, visible or infrared
    cfg.model.resume = ""  # checkpoint of an interrupted run to continue
    cfg.model.streams = 1  # 2 gives each modality a stem of its own
    cfg.model.pooling = "gem"  # of the feature maps: gem (p = 3) or avg
    cfg.model.last_stride = 2  # 1 keeps the resolution of the last stage, where the backbone has one

    cfg.model.blocks = ""  # between the layers of a ResNet or OSNet: non_local, mda, or none
    cfg.model.non_local = CN()
    cfg.model.non_local.width = 1  # of its products
    cfg.model.mda = CN()
    cfg.model.mda.contexts = 2  # M, context vectors of an image
    cfg.model.ddag = CN()
    cfg.model.ddag.parts = 3  # horizontal parts that attend to each other

    cfg.data = CN()
    cfg.data.type = "image"  # kept for torchreid's files; video is not supported
    cfg.data.root = "reid-data"  # folder that holds the datasets' folders
    cfg.data.sources = ["vi_synthetic"]  # training datasets
    cfg.data.targets = []  # test datasets; the sources when empty
    cfg.data.workers = 4  # loading processes; no result depends on it but with random_patch
    cfg.data.split_id = 0  # which split, from 0, where a dataset has several (RegDB: trial 1 is 0)
    cfg.data.height = 256  # of the images, in pixels
    cfg.data.width = 128  # of the images, in pixels
    cfg.data.combineall = False  # add query and gallery to the training images
    cfg.data.transforms = ["random_flip"]  # names of torchreid_vi.data.transforms.TRANSFORMS
    cfg.data.second_view = []  # transforms of a second view of each visible image; no such view when empty
    cfg.data.maa = ["hue", "wg", "cc", "sj"]  # branches of Modality Alignment Augmentation that are on
    cfg.data.modalities = ["visible", "infrared"]  # modalities to train on
    cfg.data.k_tfm = 1  # independent views of each training image
    cfg.data.norm_mean = [0.485, 0.456, 0.406]  # of the channels, ImageNet's
    cfg.data.norm_std = [0.229, 0.224, 0.225]  # of the channels, ImageNet's
    cfg.data.save_dir = "log"  # run folder; a taken one gets a number
    cfg.data.load_train_targets = False  # torchreid's key for domain adaptation, which is not supported
    cfg.data.validation = 0.0  # share of identities held out to choose best.pth; for mmgl, of images to judge
    cfg.data.on_bad_image = "error"  # unreadable images: error, or skip with a count

    cfg.market1501 = CN()
    cfg.market1501.use_500k_distractors = False  # torchreid's
    cfg.cuhk03 = CN()
    cfg.cuhk03.labeled_images = False  # torchreid's
    cfg.cuhk03.classic_split = False  # torchreid's
    cfg.cuhk03.use_metric_cuhk03 = False  # torchreid's

    cfg.sampler = CN()
    cfg.sampler.train_sampler = "RandomSampler"  # torchreid's, CrossModalitySampler, ModalityPairSampler
    cfg.sampler.train_sampler_t = "RandomSampler"  # torchreid's, with load_train_targets
    cfg.sampler.num_instances = 4  # K: images of an identity; CrossModalitySampler: of each modality
    cfg.sampler.num_cams = 1  # of RandomDomainSampler
    cfg.sampler.num_datasets = 1  # of RandomDatasetSampler

    cfg.train = CN()
    cfg.train.optim = "adam"  # adam, amsgrad, sgd, rmsprop, radam
    cfg.train.lr = 0.0003  # learning rate
    cfg.train.weight_decay = 5e-4  # on all parameters
    cfg.train.max_epoch = 60  # epochs
    cfg.train.start_epoch = 0  # torchreid's; model.resume sets it
    cfg.train.batch_size = 32  # images of a batch, both modalities together
    cfg.train.fixbase_epoch = 0  # epochs in which open_layers alone are trained
    cfg.train.open_layers = ["classifier"]  # see fixbase_epoch
    cfg.train.staged_lr = False  # train all but new_layers with lr × base_lr_mult
    cfg.train.new_layers = ["classifier"]  # see staged_lr; ours are neck and classifier
    cfg.train.base_lr_mult = 0.1  # see staged_lr
    cfg.train.lr_scheduler = "single_step"  # single_step, multi_step, cosine
    cfg.train.stepsize = [20]  # epochs at which the learning rate falls
    cfg.train.gamma = 0.1  # by which factor it falls
    cfg.train.warmup = 0  # epochs of linear warm-up from lr/warmup to lr, on top of the scheduler
    cfg.train.precision = "fp32"  # fp32, bf16, fp16; auto is bf16 or fp16 on a GPU and fp32 on a CPU
    cfg.train.clip_grad = 0.0  # largest norm of the gradient, 0 for no limit
    cfg.train.print_freq = 20  # batches between two lines of the log
    cfg.train.seed = 1  # of everything random

    cfg.sgd = CN()
    cfg.sgd.momentum = 0.9  # of sgd and rmsprop
    cfg.sgd.dampening = 0.0  # of the momentum
    cfg.sgd.nesterov = False  # Nesterov momentum
    cfg.rmsprop = CN()
    cfg.rmsprop.alpha = 0.99  # smoothing constant
    cfg.adam = CN()
    cfg.adam.beta1 = 0.9  # decay of the first moment
    cfg.adam.beta2 = 0.999  # decay of the second moment

    cfg.loss = CN()
    cfg.loss.name = "vi"  # the engine: vi, ddag, mmgl (pre-training), or torchreid's softmax and triplet
    cfg.loss.terms = ["identity"]  # losses of vi and mmgl: names of torchreid_vi.build.LOSSES
    cfg.loss.weights = [1.0]  # one for each term
    cfg.loss.identity = CN()
    cfg.loss.identity.label_smoothing = 0.0  # share of the target spread over all identities
    cfg.loss.hard_triplet = CN()
    cfg.loss.hard_triplet.margin = 0.3  # distance by which a negative should be farther
    cfg.loss.weighted_triplet = CN()
    cfg.loss.weighted_triplet.squared = False  # compare by the squared difference, as CAJ does
    cfg.loss.cmr = CN()
    cfg.loss.cmr.epsilon = 0.5  # regularisation of the soft ranks
    cfg.loss.permutation = CN()  # MMGL's; "inferred" and "ours" mark where the public record is silent
    cfg.loss.permutation.rounds = 20  # of Sinkhorn
    cfg.loss.permutation.temperature = 1.0  # of Sinkhorn (inferred)
    cfg.loss.permutation.noise = 0.0  # scale of Gumbel noise on the scores (inferred: none)
    cfg.loss.permutation.reduction = "sum"  # of squared errors: sum, or mean (ours: the mean hardly learns)
    cfg.loss.part_cycle = CN()  # MMGL's
    cfg.loss.part_cycle.temperature = 0.07  # τ
    cfg.loss.part_cycle.mask_self = False  # leave a part out of its own neighbours (inferred)
    cfg.loss.part_cycle.detach = False  # no gradient through what is compared with (inferred)
    cfg.loss.part_cycle.positives = "neighbours"  # neighbours, or query for CycleContrast's (inferred)
    cfg.loss.softmax = CN()
    cfg.loss.softmax.label_smooth = True  # of torchreid's engines
    cfg.loss.triplet = CN()
    cfg.loss.triplet.margin = 0.3  # of torchreid's triplet engine
    cfg.loss.triplet.weight_t = 1.0  # of torchreid's triplet engine
    cfg.loss.triplet.weight_x = 0.0  # of torchreid's triplet engine

    cfg.mmgl = CN()
    cfg.mmgl.stripes = 6  # S, of the images and of the feature maps
    cfg.mmgl.part_dim = 256  # width of the part embeddings
    cfg.mmgl.parts = True  # embed each stripe; False embeds the whole image
    cfg.mmgl.shared_projection = False  # one projection for all stripes (inferred: one of its own for each)
    cfg.mmgl.orders = "pair"  # a fresh order for each pair of images, or for each batch (inferred)

    cfg.test = CN()
    cfg.test.batch_size = 100  # images at a time
    cfg.test.dist_metric = "euclidean"  # euclidean or cosine
    cfg.test.normalize_feature = False  # L2-normalise before the distance; the cosine always does
    cfg.test.ranks = [1, 5, 10, 20]  # of torchreid's own datasets; ours report these four
    cfg.test.protocols = []  # names of torchreid_vi.evaluation.PROTOCOLS; a family's first two when empty
    cfg.test.flip = False  # average features over the image and its mirror image
    cfg.test.evaluate = False  # evaluate only
    cfg.test.eval_freq = -1  # epochs between tests; -1 tests after the last epoch alone
    cfg.test.start_eval = 0  # epoch from which eval_freq counts
    cfg.test.rerank = False  # also report k-reciprocal re-ranking; it uses all queries at once
    cfg.test.mser = False  # also report MSER (MCJA's journal version); it uses all queries at once
    cfg.test.visrank = False  # torchreid's datasets alone
    cfg.test.visrank_topk = 10  # see visrank
    cfg.rerank = CN()  # k-reciprocal re-ranking of our datasets; torchreid's have these numbers fixed
    cfg.rerank.k1 = 20  # neighbours that have to find each other
    cfg.rerank.k2 = 6  # neighbours whose encodings are averaged
    cfg.rerank.weight = 0.3  # λ of the plain distance
    cfg.mser = CN()  # published for SYSU-MM01; RegDB's are in its file
    cfg.mser.k1 = 40  # as above
    cfg.mser.k2 = 20  # as above
    cfg.mser.weight = 0.3  # as above
    cfg.mser.among_queries = True  # look for neighbours among the queries alone
    return cfg


def load_config(
    file: str = "", overrides: dict[str, Any] | None = None, options: list[str] | None = None
) -> CN:
    """The defaults, changed by a YAML file, then by ``overrides``, then by KEY VALUE pairs.

    A file that names another one as ``_BASE_`` changes that one's settings.

    Raises:
        InputError: naming the key and the nearest known one, a value of the wrong type, or a file that
            is not there or not YAML.
    """
    cfg = default_config()
    changes = _read(Path(file).expanduser()) if file else {}
    changes |= overrides or {}
    options = options or []
    if len(options) % 2:
        raise InputError(f"'{options[-1]}' has no value: settings come as KEY VALUE pairs")
    changes |= {key: _parsed(value) for key, value in zip(options[::2], options[1::2], strict=True)}
    for key, value in changes.items():
        _set(cfg, key, value)
    _check(cfg)
    return cfg


def _read(path: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The settings of a file, by their whole keys, on top of those of its base."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        asked = f"_BASE_ of {above[-1]}" if above else "--config-file"
        raise InputError(f"config file {path} cannot be read ({error.strerror}): check {asked}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"config file {path} is not YAML: {' '.join(str(error).split())[:160]}") from error
    if not isinstance(content, dict):
        raise InputError(f"config file {path} holds no settings: write sections and keys as in configs/")
    base = content.pop("_BASE_", None)
    if base is None:
        return _flat(content)
    under = (path.parent / str(base)).resolve()
    if under in (*above, path.resolve()):
        raise InputError(f"config file {path} is its own _BASE_: name the file that it changes")
    return _read(under, (*above, path.resolve())) | _flat(content)


def _parsed(value: str) -> Any:
    """A value of the command line: what YAML makes of it, or the text itself."""
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError:
        return value


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _set(cfg: CN, key: str, value: Any) -> None:
    known = _flat(cfg)
    if key not in known:
        nearest = get_close_matches(key, known, n=1)
        hint = f"did you mean '{nearest[0]}'?" if nearest else "see torchreid_vi/config.py for all of them"
        raise InputError(f"unknown setting '{key}': {hint}")
    default = known[key]
    if isinstance(default, str) and value is None:
        value = ""
    if isinstance(value, tuple):
        value = list(value)
    if isinstance(default, list) and isinstance(value, list):
        value = [_typed(key, element, default[0] if default else "") for element in value]
    value = _typed(key, value, default)
    section, _, name = key.rpartition(".")
    node = cfg
    for part in section.split("."):
        node = node[part]
    node[name] = value


def _typed(key: str, value: Any, default: Any) -> Any:
    """The value, a whole number or a number written like 5e-4 as a float where one is expected."""
    if isinstance(default, float) and isinstance(value, (int, str)) and not isinstance(value, bool):
        with suppress(ValueError):
            value = float(value)
    if type(value) is not type(default):
        raise InputError(
            f"setting '{key}' is {value!r}: expected {type(default).__name__}, such as {default!r}"
        )
    return value


def _check(cfg: CN) -> None:
    """What depends on more than one setting, or on a range."""
    if cfg.data.type != "image":
        raise InputError(f"data.type is {cfg.data.type}: only image is supported")
    if cfg.data.load_train_targets:
        raise InputError(
            "data.load_train_targets is True: domain adaptation is not supported, leave it False"
        )
    if len(cfg.loss.terms) != len(cfg.loss.weights):
        raise InputError(
            f"loss.terms has {len(cfg.loss.terms)} names and loss.weights {len(cfg.loss.weights)} numbers: "
            "give each term one weight"
        )
    values = _flat(cfg)
    for key, (known, valid) in _RANGES.items():
        if not valid(values[key]):
            raise InputError(f"{key} is {values[key]}: it must be {known}")
    if cfg.test.evaluate and (cfg.model.resume or not cfg.model.load_weights):
        raise InputError(
            "to evaluate only, name the weights in model.load_weights, and leave model.resume empty"
        )
    if cfg.model.resume and cfg.model.load_weights:
        raise InputError("model.resume and model.load_weights are both set: leave one of them empty")


def _at_least(least: int, *keys: str) -> dict[str, tuple[str, Callable[[Any], bool]]]:
    return {key: (f"at least {least}", lambda value: value >= least) for key in keys}


_RANGES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    **_at_least(1, "train.batch_size", "test.batch_size", "sampler.num_instances", "data.k_tfm"),
    **_at_least(1, "train.print_freq", "mmgl.part_dim"),
    **_at_least(1, "model.non_local.width", "model.mda.contexts", "model.ddag.parts"),
    **_at_least(2, "mmgl.stripes"),
    **_at_least(0, "data.workers", "train.max_epoch", "train.warmup", "train.seed", "train.clip_grad"),
    "train.lr": ("above 0", lambda value: value > 0),
    "data.validation": ("at least 0 and below 1", lambda value: 0 <= value < 1),
    "data.norm_mean": ("three numbers", lambda value: len(value) == 3),
    "data.norm_std": ("three numbers above 0", lambda value: len(value) == 3 and min(value) > 0),
    "test.dist_metric": ("euclidean or cosine", lambda value: value in ("euclidean", "cosine")),
    "train.start_epoch": ("0, model.resume sets it", lambda value: value == 0),
    "train.stepsize": ("a list of epochs", lambda value: len(value) > 0),
}


# From settings to the plain arguments that the rest of the package takes


def data_kwargs(cfg: CN, use_gpu: bool) -> dict[str, Any]:
    """Arguments of :class:`~torchreid_vi.data.VIDataManager`."""
    names = (
        "root sources targets height width transforms second_view k_tfm norm_mean norm_std split_id combineall "
        "load_train_targets workers maa modalities validation on_bad_image"
    )
    return (
        {name: cfg.data[name] for name in names.split()}
        | dict(cfg.sampler)
        | {
            "use_gpu": use_gpu,
            "batch_size_train": cfg.train.batch_size,
            "batch_size_test": cfg.test.batch_size,
            "cuhk03_labeled": cfg.cuhk03.labeled_images,
            "cuhk03_classic_split": cfg.cuhk03.classic_split,
            "market1501_500k": cfg.market1501.use_500k_distractors,
        }
    )


def model_kwargs(cfg: CN) -> dict[str, Any]:
    """Arguments of :class:`~torchreid_vi.models.VIModel` but for its backbone, identities and weights."""
    names = ("streams", "pooling", "last_stride", "blocks")
    chosen = cfg.model.get(cfg.model.blocks)
    options = dict(chosen) if isinstance(chosen, CN) else {}
    return {name: cfg.model[name] for name in names} | {"block_options": options}


def optimizer_kwargs(cfg: CN) -> dict[str, Any]:
    """Arguments of ``torchreid.optim.build_optimizer``."""
    names = "optim lr weight_decay staged_lr new_layers base_lr_mult"
    return {name: cfg.train[name] for name in names.split()} | {
        "momentum": cfg.sgd.momentum,
        "sgd_dampening": cfg.sgd.dampening,
        "sgd_nesterov": cfg.sgd.nesterov,
        "rmsprop_alpha": cfg.rmsprop.alpha,
        "adam_beta1": cfg.adam.beta1,
        "adam_beta2": cfg.adam.beta2,
    }


def scheduler_kwargs(cfg: CN) -> dict[str, Any]:
    """Arguments of ``torchreid.optim.build_lr_scheduler``."""
    return {name: cfg.train[name] for name in ["lr_scheduler", "stepsize", "gamma", "max_epoch"]}


def engine_kwargs(cfg: CN) -> dict[str, Any]:
    """What every engine takes beside the model and its data."""
    return {
        "seed": cfg.train.seed,
        "protocols": cfg.test.protocols,
        "flip": cfg.test.flip,
        "settings": resumable(cfg),
    }


def resumable(cfg: CN) -> dict[str, Any]:
    """The settings that a run and its continuation share: those that change what is trained."""
    free = {f"model.{name}" for name in ("pretrained", "load_weights", "load_stem", "resume")}
    free |= {f"data.{name}" for name in ("root", "targets", "workers", "save_dir", "on_bad_image")}
    free |= {"train.print_freq", "train.start_epoch"}
    if cfg.train.lr_scheduler != "cosine":  # the only schedule that depends on the last epoch
        free.add("train.max_epoch")
    return {
        key: value
        for key, value in _flat(cfg).items()
        if key not in free and not key.startswith(("test.", "rerank.", "mser."))
    }


def comparable(cfg: CN) -> dict[str, Any]:
    """The settings that two runs with the same figures share: all but places, and what only costs time."""
    free = {"model.resume", "data.root", "data.workers", "data.save_dir", "train.print_freq"}
    free |= {"train.start_epoch", "test.batch_size"}
    return {key: value for key, value in _flat(cfg).items() if key not in free}


def fingerprint(cfg: CN) -> str:
    """Eight hexadecimal digits that tell settings and versions of this package apart, whatever the seed."""
    settings = comparable(cfg) | {"train.seed": 0, "version": version("torchreid_vi")}
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]


def keys() -> set[str]:
    """The names of all settings."""
    return set(_flat(default_config()))


def short(cfg: CN, key: str) -> str:
    """A setting as a part of a run's name.

    >>> short(default_config(), "data.maa")
    'maa=hue+wg+cc+sj'
    """
    value = _flat(cfg)[key]
    text = "+".join(map(str, value)) if isinstance(value, list) else str(value)
    return f"{key.rpartition('.')[2]}={re.sub(r'[^-+.0-9A-Za-z_]+', '_', text) or 'none'}"


def run_kwargs(cfg: CN) -> dict[str, Any]:
    """Arguments of an engine's ``run``."""
    train = ("max_epoch", "start_epoch", "fixbase_epoch", "open_layers", "print_freq")
    test = ("start_eval", "eval_freq", "dist_metric", "normalize_feature", "ranks", "rerank")
    visrank = ("visrank", "visrank_topk")
    return {
        **{name: cfg.train[name] for name in train},
        **{name: cfg.test[name] for name in test + visrank},
        "save_dir": cfg.data.save_dir,
        "test_only": cfg.test.evaluate,
        "use_metric_cuhk03": cfg.cuhk03.use_metric_cuhk03,
    }
