"""The campaign's short form, and that it finds what is wrong."""

import campaign
import pytest

pytestmark = pytest.mark.faults


def test_what_is_broken_at_forty_moments_ends_as_the_unbroken():
    outcome = campaign.campaign(kills=40, seed=2)
    assert not outcome.wrong, str(outcome)
    assert outcome.faults.total() == 40 and outcome.finished >= 8
