"""Every setting with its default, torchreid's keys and ours; those of losses and methods are their arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from yacs.config import CfgNode as CN

from torchreid_vi.losses import LOSSES
from torchreid_vi.methods import METHODS


def default_config() -> CN:
    """The defaults. Keys that torchreid has keep its name and meaning, and but for ``loss.name`` and the
    datasets also its default."""
    cfg = CN()
    cfg.imports = []  # modules or .py files that register datasets, models, losses, … of your own

    cfg.model = CN()
    cfg.model.name = "resnet50"  # torchreid's name of the backbone, or of the model of its own methods
    cfg.model.pretrained = True  # start from the ImageNet weights that torchreid downloads
    cfg.model.load_weights = ""  # to start from, or to evaluate: a file, a package, https:// or hf:// of one
    cfg.model.load_stem = "average"  # of two streams, for a model of one: average, visible or infrared
    cfg.model.resume = ""  # checkpoint of an interrupted run to continue
    cfg.model.streams = 1  # 2 gives each modality a stem of its own
    cfg.model.pooling = "gem"  # of the feature maps: gem (p = 3) or avg
    cfg.model.last_stride = 2  # 1 keeps the resolution of the last stage, where the backbone has one
    cfg.model.classifier_std = 0.001  # of the classifier's normal start; 0: PyTorch's uniform start
    cfg.model.neck_std = 0.0  # of the normal start, around 1, of the neck's weight

    cfg.model.blocks = ""  # between the layers of a ResNet or OSNet: non_local, mda, or none
    cfg.model.non_local = CN()
    cfg.model.non_local.width = 1  # of its products
    cfg.model.mda = CN()
    cfg.model.mda.contexts = 2  # M, context vectors of an image

    cfg.data = CN()
    cfg.data.type = "image"  # kept for torchreid's files; video is not supported
    cfg.data.root = "reid-data"  # folder that holds the datasets' folders
    cfg.data.sources = ["vi_synthetic"]  # training datasets
    cfg.data.targets = []  # test datasets; the sources when empty
    cfg.data.workers = 4  # threads that read images; no result depends on it
    cfg.data.split_id = 0  # which split, from 0, where a dataset has several (RegDB: trial 1 is 0)
    cfg.data.height = 256  # of the images, in pixels
    cfg.data.width = 128  # of the images, in pixels
    cfg.data.interpolation = "bilinear"  # how images are resized: bilinear, bicubic or lanczos
    cfg.data.combineall = False  # add query and gallery to the training images
    cfg.data.transforms = ["random_flip"]  # names of torchreid_vi.data.TRANSFORMS
    cfg.data.second_view = []  # transforms of a second view of each visible image; no such view when empty
    cfg.data.maa = ["hue", "wg", "cc", "sj"]  # branches of MAA that are on; or cc_published, as in its code
    cfg.data.modalities = ["visible", "infrared"]  # modalities to train on
    cfg.data.k_tfm = 1  # independent views of each training image
    cfg.data.norm_mean = [0.485, 0.456, 0.406]  # of the channels, ImageNet's
    cfg.data.norm_std = [0.229, 0.224, 0.225]  # of the channels, ImageNet's
    cfg.data.cache = "image-cache"  # folder of decoded images, under data.root or anywhere; none when empty
    cfg.data.save_dir = "log"  # run folder; an unfinished run goes on in it, else a taken one gets a number
    cfg.data.load_train_targets = False  # torchreid's key for domain adaptation, which is not supported
    cfg.data.validation = 0.0  # share of identities held out to choose best.pth; for mmgl, of images to judge
    cfg.data.on_bad_image = "error"  # unreadable images: error, or skip with a count
    cfg.data.thermal_found = []  # that percentile range, which a run writes here for who uses its weights
    cfg.data.thermal_range = []  # black and white in 16-bit and float images; 1st and 99th percentile when empty

    cfg.market1501 = CN()
    cfg.market1501.use_500k_distractors = False  # torchreid's
    cfg.cuhk03 = CN()
    cfg.cuhk03.labeled_images = False  # torchreid's
    cfg.cuhk03.classic_split = False  # torchreid's
    cfg.cuhk03.use_metric_cuhk03 = False  # torchreid's

    cfg.vi_labelled = CN()
    cfg.vi_labelled.test_share = 0.5  # of the identities, drawn by data.split_id
    cfg.vi_labelled.test_list = ""  # file that names them instead; test.txt in the folder if it is there

    cfg.sampler = CN()
    cfg.sampler.train_sampler = "RandomSampler"  # torchreid's, CrossModalitySampler, ModalityPairSampler
    cfg.sampler.train_sampler_t = "RandomSampler"  # torchreid's, with load_train_targets
    cfg.sampler.num_instances = 4  # K: images of an identity; CrossModalitySampler: of each modality
    cfg.sampler.replacement = False  # CrossModalitySampler draws with replacement, as AGW's code does
    cfg.sampler.num_cams = 1  # of RandomDomainSampler
    cfg.sampler.num_datasets = 1  # of RandomDatasetSampler

    cfg.train = CN()
    cfg.train.optim = "adam"  # adam, amsgrad, sgd; rmsprop and radam, whose steps wait for the GPU
    cfg.train.lr = 0.0003  # learning rate
    cfg.train.weight_decay = 5e-4  # on all parameters
    cfg.train.max_epoch = 60  # epochs
    cfg.train.start_epoch = 0  # torchreid's; model.resume sets it
    cfg.train.print_freq = 20  # torchreid's; has no effect: the log has one line an epoch
    cfg.train.batch_size = 32  # images of a batch, both modalities and all processes together
    cfg.train.fixbase_epoch = 0  # epochs in which open_layers alone are trained
    cfg.train.open_layers = ["classifier"]  # see fixbase_epoch
    cfg.train.staged_lr = False  # train all but new_layers with lr × base_lr_mult
    cfg.train.new_layers = ["classifier"]  # see staged_lr; ours are neck and classifier
    cfg.train.base_lr_mult = 0.1  # see staged_lr
    cfg.train.lr_scheduler = "single_step"  # single_step, multi_step, cosine
    cfg.train.stepsize = [20]  # epochs at which the learning rate falls
    cfg.train.gamma = 0.1  # by which factor it falls
    cfg.train.warmup = 0  # epochs of linear warm-up from lr/warmup to lr, on top of the scheduler
    cfg.train.precision = "auto"  # fp32, bf16, fp16; auto is bf16 or fp16 on a GPU and fp32 on a CPU
    cfg.train.memory_format = "auto"  # channels_last, contiguous; auto is the first on a GPU, else the second
    cfg.train.deterministic = False  # the same on every run of a GPU, wherever PyTorch can; slower
    cfg.train.compile = False  # torch.compile; needs a C++ compiler, and minutes at the start
    cfg.train.sync_bn = False  # batch normalisation over the GPUs of all processes, not each for itself
    cfg.train.clip_grad = 0.0  # largest norm of the gradient, 0 for no limit
    cfg.train.skip_nonfinite = 0  # steps with NaN or infinity that a run leaves out before it stops
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
    cfg.loss.name = "supervised"  # the method: a name of torchreid_vi.METHODS; mmgl pre-trains
    cfg.loss.terms = ["identity"]  # the method's losses: names of torchreid_vi.LOSSES
    cfg.loss.weights = [1.0]  # one for each term
    builders: dict[str, Callable[..., Any]] = {**LOSSES, **METHODS}
    for name, builder in builders.items():
        if settings := settings_of(builder):
            cfg.loss[name] = CN(settings)

    cfg.test = CN()
    cfg.test.batch_size = 100  # images at a time
    cfg.test.dist_metric = "euclidean"  # euclidean or cosine
    cfg.test.normalize_feature = False  # L2-normalise before the distance; the cosine always does
    cfg.test.ranks = [1, 5, 10, 20]  # of torchreid's own datasets; ours report these four
    cfg.test.protocols = []  # names of torchreid_vi.evaluation.PROTOCOLS; a family's first two when empty
    cfg.test.flip = False  # average the normalised features of the image and its mirror image
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
    """Settings by their whole keys, such as ``train.lr``."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found
