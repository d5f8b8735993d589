"""Every setting with its default, torchreid's and ours; those of losses and methods are their arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from enum import Enum
from typing import Any, NamedTuple

from yacs.config import CfgNode as CN

from torchreid_vi.losses import LOSSES
from torchreid_vi.methods import METHODS


class Affects(Enum):
    """The effect of a setting on a run."""

    TRAINING = "what is trained, so no interrupted run resumes with it"
    RESUMABLE = "what is trained, and an interrupted run may resume with it"
    EVALUATION = "the evaluation alone"
    NOTHING = "no metric: it names a place, or costs time alone"


class Setting(NamedTuple):
    """A default with more to say about it.

    Attributes:
        default: Value where nobody sets it.
        affects: What another value changes.
        of: What a list that is empty by default holds, by an example.
    """

    default: Any
    affects: Affects = Affects.TRAINING
    of: Any = ""


TRAINING, RESUMABLE, EVALUATION, NOTHING = Affects

# Keys that torchreid has keep its name and meaning, and but for loss.name and the datasets also its default.
_OF_TRAINING: dict[str, Any] = {
    "imports": Setting([], NOTHING),  # modules or .py files that register datasets, models, losses, …
    "model.name": "resnet50",  # torchreid's name of the backbone, or of the model of its own methods
    "model.pretrained": Setting(True, RESUMABLE),  # start from the ImageNet weights that torchreid downloads
    "model.load_weights": Setting("", RESUMABLE),  # weights to start from or to evaluate, by any name
    "model.load_stem": Setting("average", RESUMABLE),  # of two stems, for one: average, visible, infrared
    "model.resume": Setting("", NOTHING),  # checkpoint of an interrupted run to continue
    "model.streams": 1,  # 2 gives each modality a stem of its own
    "model.pooling": "gem",  # pooling of the feature maps: gem (p = 3) or avg
    "model.last_stride": 2,  # 1 keeps the resolution of the last stage, where the backbone has one
    "model.classifier_std": 0.001,  # deviation of the classifier's normal start; 0: PyTorch's uniform start
    "model.neck_std": 0.0,  # deviation of the neck's normal start around 1
    "model.blocks": "",  # blocks between the layers of a ResNet or OSNet: non_local, mda, or none
    "model.non_local.width": 1,  # inner width of the non-local blocks
    "model.mda.contexts": 2,  # M, number of context vectors of an MDA block
    "data.type": "image",  # kept for torchreid's files; video is not supported
    "data.root": Setting("reid-data", NOTHING),  # folder that holds the datasets' folders
    "data.sources": ["vi_synthetic"],  # training datasets
    "data.targets": Setting([], EVALUATION),  # test datasets; the sources when empty
    "data.workers": Setting(4, NOTHING),  # threads that read images; no result depends on it
    "data.split_id": 0,  # which split, from 0, where a dataset has several (RegDB: trial 1 is 0)
    "data.height": 256,  # height of the images, in pixels
    "data.width": 128,  # width of the images, in pixels
    "data.interpolation": "bilinear",  # how images are resized: bilinear, bicubic or lanczos
    "data.combineall": False,  # add query and gallery to the training images
    "data.transforms": ["random_flip"],  # names of torchreid_vi.data.TRANSFORMS
    "data.second_view": [],  # transforms of a second view of each visible image; no such view when empty
    "data.maa": ["hue", "wg", "cc", "sj"],  # branches of MAA that are on; or cc_published, as in its code
    "data.modalities": ["visible", "infrared"],  # modalities to train on
    "data.k_tfm": 1,  # independent views of each training image
    "data.norm_mean": [0.485, 0.456, 0.406],  # mean of the channels, ImageNet's
    "data.norm_std": [0.229, 0.224, 0.225],  # deviation of the channels, ImageNet's
    "data.cache": Setting("image-cache", NOTHING),  # folder of decoded images, under data.root or anywhere
    "data.save_dir": Setting("log", NOTHING),  # run folder; with another run in it, one with a number
    "data.load_train_targets": False,  # torchreid's key for domain adaptation, which is not supported
    "data.validation": 0.0,  # share of identities held out to choose best.pth; for mmgl, of images to test
    "data.thermal_found": Setting([], NOTHING, of=0.0),  # the range that the run found; written by the run
    "data.thermal_range": Setting([], of=0.0),  # black and white of 16-bit images; empty: from percentiles
    "market1501.use_500k_distractors": False,  # torchreid's
    "cuhk03.labeled_images": False,  # torchreid's
    "cuhk03.classic_split": False,  # torchreid's
    "cuhk03.use_metric_cuhk03": False,  # torchreid's
    "vi_labelled.test_share": 0.5,  # share of the identities to test, sampled by data.split_id
    "vi_labelled.test_list": "",  # list of the identities to test; by default test.txt in the folder, if any
    "sampler.train_sampler": "RandomSampler",  # torchreid's, CrossModalitySampler, ModalityPairSampler
    "sampler.train_sampler_t": "RandomSampler",  # torchreid's, with load_train_targets
    "sampler.num_instances": 4,  # K: images of an identity; CrossModalitySampler: of each modality
    "sampler.replacement": False,  # CrossModalitySampler samples with replacement, as AGW's code does
    "sampler.num_cams": 1,  # cameras in a batch of RandomDomainSampler
    "sampler.num_datasets": 1,  # datasets in a batch of RandomDatasetSampler
    "train.optim": "adam",  # adam, amsgrad, sgd; rmsprop and radam, whose steps wait for the GPU
    "train.lr": 0.0003,  # learning rate
    "train.weight_decay": 5e-4,  # on all parameters
    "train.max_epoch": 60,  # epochs; resumable but with cosine
    "train.start_epoch": Setting(0, NOTHING),  # torchreid's; model.resume sets it
    "train.print_freq": Setting(20, NOTHING),  # torchreid's; has no effect: the log has one line an epoch
    "train.batch_size": 32,  # images of a batch, both modalities and all processes together
    "train.fixbase_epoch": 0,  # epochs in which open_layers alone are trained
    "train.open_layers": ["classifier"],  # see fixbase_epoch
    "train.staged_lr": False,  # train all but new_layers with lr × base_lr_mult
    "train.new_layers": ["classifier"],  # see staged_lr; ours are neck and classifier
    "train.base_lr_mult": 0.1,  # see staged_lr
    "train.lr_scheduler": "single_step",  # single_step, multi_step, cosine
    "train.stepsize": [20],  # epochs at which the learning rate falls
    "train.gamma": 0.1,  # factor by which it falls
    "train.warmup": 0,  # epochs of linear warm-up from lr/warmup to lr, on top of the scheduler
    "train.precision": "auto",  # fp32, bf16, fp16; auto is bf16 or fp16 on a GPU and fp32 on a CPU
    "train.memory_format": "auto",  # channels_last, contiguous; auto is the first on a GPU, else the second
    "train.deterministic": False,  # the same on every run of a GPU, wherever PyTorch can; slower
    "train.compile": False,  # torch.compile; needs a C++ compiler, and minutes at the start
    "train.sync_bn": False,  # batch normalisation over the GPUs of all processes, not each for itself
    "train.clip_grad": 0.0,  # largest norm of the gradient, 0 for no limit
    "train.skip_nonfinite": Setting(0, RESUMABLE),  # steps with NaN or infinity that a run may leave out
    "train.seed": 1,  # random seed
    "sgd.momentum": 0.9,  # momentum of sgd and rmsprop
    "sgd.dampening": 0.0,  # dampening of the momentum
    "sgd.nesterov": False,  # Nesterov momentum
    "rmsprop.alpha": 0.99,  # smoothing constant
    "adam.beta1": 0.9,  # decay of the first moment
    "adam.beta2": 0.999,  # decay of the second moment
    "loss.name": "supervised",  # the method: a name of torchreid_vi.METHODS; mmgl pre-trains
    "loss.terms": ["identity"],  # the method's losses: names of torchreid_vi.LOSSES
    "loss.weights": [1.0],  # one for each term
}

_OF_EVALUATION: dict[str, Any] = {
    "test.batch_size": Setting(100, NOTHING),  # images of a batch
    "test.dist_metric": "euclidean",  # euclidean or cosine
    "test.normalize_feature": False,  # L2-normalise before the distance; the cosine always does
    "test.ranks": [1, 5, 10, 20],  # ranks of the CMC of torchreid's own datasets; ours report these four
    "test.protocols": [],  # names of torchreid_vi.evaluation.PROTOCOLS; a family's first two when empty
    "test.flip": False,  # average the normalised features of the image and its mirror image
    "test.evaluate": False,  # evaluate only
    "test.eval_freq": -1,  # epochs between tests; -1 tests after the last epoch alone
    "test.start_eval": 0,  # epoch from which eval_freq counts
    "test.rerank": False,  # also report k-reciprocal re-ranking; it uses all queries at once
    "test.mser": False,  # also report MSER (MCJA's journal version); it uses all queries at once
    "test.visrank": False,  # torchreid's datasets alone
    "test.visrank_topk": 10,  # see visrank
    "rerank.k1": 20,  # k-reciprocal re-ranking: neighbours that have to find each other
    "rerank.k2": 6,  # k-reciprocal re-ranking: neighbours whose encodings are averaged
    "rerank.weight": 0.3,  # k-reciprocal re-ranking: λ, weight of the plain distance
    "mser.k1": 40,  # k1 of MSER, for SYSU-MM01; RegDB's is in its configs
    "mser.k2": 20,  # k2 of MSER
    "mser.weight": 0.3,  # λ of MSER, weight of the plain distance
    "mser.among_queries": True,  # look for neighbours among the queries alone
}


def _settings(table: dict[str, Any], affects: Affects) -> dict[str, Setting]:
    return {
        key: value if isinstance(value, Setting) else Setting(value, affects) for key, value in table.items()
    }


#: All settings by their whole keys, but for those of losses and methods.
SETTINGS = _settings(_OF_TRAINING, TRAINING) | _settings(_OF_EVALUATION, EVALUATION)


def default_config() -> CN:
    """Return the defaults, with those of all losses and methods that are registered."""
    cfg = CN()
    for key, setting in SETTINGS.items():
        default = setting.default
        put(cfg, key, list(default) if isinstance(default, list) else default)
    builders: dict[str, Callable[..., Any]] = {**LOSSES, **METHODS}
    for name, builder in builders.items():
        if settings := settings_of(builder):
            cfg.loss[name] = CN(settings)
    return cfg


def put(cfg: CN, key: str, value: Any) -> None:
    """Set a value by its whole key, in a section that is made if it is not there."""
    *sections, name = key.split(".")
    for section in sections:
        cfg = cfg.setdefault(section, CN())
    cfg[name] = value


def settings_of(builder: Callable[..., Any]) -> dict[str, Any]:
    """Return the settings of a loss or a method: its plain arguments that have a default, with it.

    >>> from torchreid_vi.losses import HardTripletLoss
    >>> settings_of(HardTripletLoss)
    {'margin': 0.3}
    """
    arguments = inspect.signature(builder).parameters.values()
    plain = (bool, int, float, str, list, tuple)
    return {
        each.name: list(each.default) if isinstance(each.default, tuple) else each.default
        for each in arguments
        if isinstance(each.default, plain)
    }


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return settings by their whole keys, such as ``train.lr``."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found
