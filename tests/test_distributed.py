"""Two processes on gloo: the gradient of the whole batch, the same features, and what they refuse."""

import os
import signal
import socket
import time
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch
from command_lines import MMGL, TINY
from torch import nn

from torchreid_vi import InputError, build, distributed, load_config, run, series
from torchreid_vi.methods.ddag import GraphAttentionLayer
from torchreid_vi.seeds import seed_everything

SMALL = TINY | {
    "data.sources": ["vi_synthetic"],
    "data.transforms": ["maa", "random_flip", "random_crop"],
    "train.optim": "sgd",
    "train.lr_scheduler": "single_step",
}
TERMS = ["identity", "cmr", "hard_triplet", "weighted_triplet"]
DDAG = ["identity", "part_identity", "graph_identity"]
#: What is trained, by name.
CASES = {
    "all losses": {"loss.terms": TERMS, "loss.weights": [1.0, 0.5, 2.0, 1.0]},
    "a loss that leaves the classifier out": {"loss.terms": ["cmr"]},
    "a second view": {"loss.terms": ["identity", "cmr"], "loss.weights": [1.0, 1.0]}
    | {"data.second_view": ["random_flip", "channel_exchange"]},
    "pictures at random": {"sampler.train_sampler": "RandomSampler"},
    "identities": {"sampler.train_sampler": "RandomIdentitySampler", "loss.terms": ["hard_triplet"]},
    "ddag": {"loss.name": "ddag", "loss.terms": DDAG, "loss.weights": [1.0, 1.0, 1.0]},
    "torchreid's": {"loss.name": "triplet", "loss.triplet.weight_x": 1.0},
    "mmgl": MMGL | {"loss.weights": [1.0, 0.5]},
    "mmgl plus": MMGL | {"loss.terms": ["permutation", "part_views"], "data.k_tfm": 2},
}
#: What several processes refuse, by the words in which they do.
REFUSED = {
    "multiple of 8": {"train.batch_size": 12},
    "train.fixbase_epoch is for one process": {"train.fixbase_epoch": 1},
    "train.sync_bn is for GPUs": {"train.sync_bn": True},
    "model.streams 2 needs both modalities": {"model.streams": 2, "sampler.train_sampler": "RandomSampler"},
    "sampler.train_sampler to CrossModalitySampler": {"sampler.train_sampler": "RandomSampler"}
    | {"data.second_view": ["random_flip"]},
}


def engine_of(root, changes):
    cfg = load_config(overrides={"data.root": root} | SMALL | changes)
    seed_everything(1, 0)
    datamanager = build.build_datamanager(cfg, use_gpu=False)
    model = build.build_method(cfg, datamanager.num_train_pids).double()
    return build.build_engine(cfg, datamanager, model, use_gpu=False)


def gradients(root, changes):
    """Return the identities, the loss and the gradient of a step without batch statistics and dropout."""
    engine = engine_of(root, changes)
    for module in engine.model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm | nn.Dropout):
            module.eval()
        if isinstance(module, GraphAttentionLayer):
            module.dropout = 0.0
    if hasattr(engine.model, "run_graph_weight"):
        engine.model.run_graph_weight.fill_(0.7)
    seed_everything(1, 0)
    batch = next(iter(engine.train_loader))
    views = batch["img"] if isinstance(batch["img"], list) else [batch["img"]]
    losses = engine.forward_backward(batch | {"img": [view.double() for view in views]})
    found = {name: parameter.grad for name, parameter in engine.model.named_parameters()}
    return batch["pid"].tolist(), float(losses["loss"]), found


def refusal(root, changes):
    try:
        engine_of(root, changes)
    except InputError as error:
        return str(error)
    return ""


def idle(root):
    """Return what is said of a model with a parameter that no output depends on."""
    engine = engine_of(root, CASES["all losses"])
    engine.model.idle = nn.Parameter(torch.zeros(1))
    batch = next(iter(engine.train_loader))
    try:
        engine.forward_backward(batch | {"img": batch["img"].double()})
    except InputError as error:
        return str(error)
    return ""


def features(root, weights=None):
    """Return all features, those of one channel, and the weights: the given ones, or those after one step."""
    engine = engine_of(root, CASES["all losses"])
    if weights:
        engine.model.load_state_dict(weights)
    else:
        batch = next(iter(engine.train_loader))
        engine.forward_backward(batch | {"img": batch["img"].double()})
    engine.set_model_mode("eval")
    loaders = [loader for _, loader in sorted(engine.test_loader["vi_synthetic"].items())]
    engine.method.embed = lambda images, modality: engine.model(images.double(), modality)
    features = [engine.evaluator.features(loaders, channel)[0] for channel in (None, 1)]
    return *features, engine.model.state_dict()


def work(rank, root, out, port):
    """Do all that one of two processes does, and save what it found."""
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    with distributed.connected():
        found = {
            "gradients": {name: gradients(root, changes) for name, changes in CASES.items()},
            "refused": {said: refusal(root, changes) for said, changes in REFUSED.items()},
            "features": features(root),
            "idle": idle(root),
            "first": distributed.from_first(lambda: f"made by {rank}"),
            "collected": distributed.collect(torch.tensor([[rank], [2 + rank]]), 3),
        }
        with distributed.first_here_first():
            (Path(out) / f"began{rank}").write_text(str(time.monotonic_ns()))
            time.sleep(0.2 * (1 - rank))
            found["ended"] = time.monotonic_ns()
        torch.save(found, Path(out) / f"found{rank}.pt")
    assert not torch.distributed.is_initialized()


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture(scope="module")
def two(roots, tmp_path_factory):
    """Findings of two processes."""
    out = tmp_path_factory.mktemp("two")
    port = free_port()
    context = get_context("fork")
    both = [context.Process(target=work, args=(rank, str(roots), str(out), port)) for rank in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(300)
        process.kill()
    assert [process.exitcode for process in both] == [0, 0]
    found = [torch.load(out / f"found{rank}.pt", weights_only=False) for rank in range(2)]
    found[1]["began"] = int((out / "began1").read_text())
    return found


@pytest.mark.parametrize("name", CASES)
def test_the_gradient_is_that_of_one_process_with_the_whole_batch(roots, two, name):
    pids, loss, alone = gradients(str(roots), CASES[name])
    for rank, found in enumerate(two):
        own, its_loss, shared = found["gradients"][name]
        assert len(own) == len(pids) // 2, rank
        assert its_loss == pytest.approx(loss, abs=1e-9)
        assert shared.keys() == alone.keys()
        for parameter, gradient in alone.items():
            expected = torch.zeros_like(shared[parameter]) if gradient is None else gradient
            torch.testing.assert_close(shared[parameter], expected, rtol=0, atol=1e-9, msg=parameter)
    assert any(gradient is not None and gradient.abs().max() > 1e-3 for gradient in alone.values())


@pytest.mark.parametrize("name", ["all losses", "a second view", "identities", "ddag"])
def test_the_processes_have_no_identity_in_common(two, name):
    first, second = (set(found["gradients"][name][0]) for found in two)
    assert first and second and not first & second


def test_features_are_those_of_one_process(roots, two):
    *first, weights = two[0]["features"]
    *alone, _ = features(str(roots), weights)
    for shared in (first, two[1]["features"][:2]):
        for found, expected in zip(shared, alone, strict=True):
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    assert any(tensor.std() > 1e-3 for tensor in map(torch.from_numpy, alone))


def test_what_several_processes_cannot_do_is_one_sentence(two):
    for found in two:
        assert all(said in text for said, text in found["refused"].items()), found["refused"]


def test_a_parameter_without_a_gradient_to_average_is_named(two):
    assert all(found["idle"].startswith("no output of the model depends on idle") for found in two)


def test_processes_that_do_not_know_each_other_are_stopped(roots, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    cfg = load_config(overrides={"data.root": str(roots), "data.save_dir": str(tmp_path / "run")} | SMALL)
    for start in (run, series.complete):
        with pytest.raises(InputError, match=r"within torchreid_vi\.distributed\.connected\(\)"):
            start(cfg)
    assert not list(tmp_path.iterdir())


def test_the_first_process_decides_and_goes_first(two):
    assert [found["first"] for found in two] == ["made by 0"] * 2
    assert [found["collected"].tolist() for found in two] == [[[0], [1], [2]]] * 2
    assert two[0]["ended"] < two[1]["began"]


def test_more_processes_than_gpus_are_one_sentence(monkeypatch):
    for name, value in {"WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "LOCAL_RANK": 0, "RANK": 0}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    few = pytest.raises(
        InputError, match=r"2 processes of this machine have 1 GPU: start torchrun with --nproc-per-node 1$"
    )
    with few, distributed.connected():
        pass


def told_to_end(rank, last, port):
    """End, while waiting, as one of two processes that torchrun ends."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    with distributed.connected(), distributed.continues_from(last):
        with distributed.first_here_first():
            print(f"said by {rank}", flush=True)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(20)


def test_a_process_that_torchrun_ends_says_from_what_the_run_goes_on(tmp_path, capfd):
    last = tmp_path / "last.pth"
    last.touch()
    context = get_context("fork")
    port = free_port()
    both = [context.Process(target=told_to_end, args=(rank, last, port)) for rank in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [2, 2]
    out, err = capfd.readouterr()
    assert out == "said by 0\n"
    assert f"a process of this run has ended: the same command goes on from {last}" in err
