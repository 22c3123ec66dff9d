"""What is hushed, and that nothing else is."""

import logging
import warnings

import pytest

from molgeo.training.quiet import quiet_lightning

LOGGER = "lightning.pytorch.utilities.rank_zero"


def test_irrelevant_warnings_are_hushed_and_others_are_not():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with quiet_lightning():
            warnings.warn("Checkpoint directory runs/x exists and is not empty.", stacklevel=1)
            with pytest.raises(UserWarning, match="loss is NaN"):
                warnings.warn("loss is NaN", stacklevel=1)
        with pytest.raises(UserWarning):
            warnings.warn("Checkpoint directory runs/x exists and is not empty.", stacklevel=1)


def test_advertisements_are_hushed_and_news_are_not(caplog):
    caplog.set_level(logging.INFO, LOGGER)
    logger = logging.getLogger(LOGGER)
    with quiet_lightning():
        logger.info("💡 Tip: buy %s", "this")
        logger.info("Restored all states from the checkpoint at x")
    logger.info("💡 Tip: again")
    assert caplog.messages == [
        "Restored all states from the checkpoint at x",
        "💡 Tip: again",
    ]


def test_errors_pass():
    with pytest.raises(ValueError, match="wrong"), quiet_lightning():
        raise ValueError("wrong")
    assert not logging.getLogger(LOGGER).filters
