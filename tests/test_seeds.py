"""Seeds: every purpose and place has random numbers of its own."""

import random

import numpy as np
import torch

from torchreid_vi.seeds import seed_everything, seed_of, seeded


def numbers():
    return random.random(), np.random.uniform(), float(torch.rand(1))


def test_a_place_in_a_run_repeats_its_numbers_and_shares_them_with_no_other():
    places = [("step", 1), ("step", 1, 0), ("step", 1, 0, 0), ("step", 0, 1), ("order", 1), ("batch", 1, 0)]

    def all_of(purpose, *place):
        with seeded(purpose, *place):
            return numbers()

    assert [all_of(*place) for place in places] == [all_of(*place) for place in places]
    assert len({number for place in places for number in all_of(*place)}) == 3 * len(places)


def test_what_comes_before_the_first_epoch_is_no_step_of_it():
    found = []
    for place in ((1,), (1, 0), (1, 0, 1), (1, 1), (2,)):
        seed_everything(*place)
        found += numbers()
    assert len(set(found)) == 15
    seed_everything(1, 0, 1)
    assert numbers() == tuple(found[6:9])


def test_seeds_are_the_same_on_every_machine():
    assert seed_of("batch", 1, 2, 3) == 1_469_195_937
