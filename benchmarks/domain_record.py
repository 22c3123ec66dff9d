"""Write into QM9's checkpoints which atoms and bonds the training part held.

    python benchmarks/domain_record.py checkpoints/*qm9*.safetensors && make checksums

The record is counted at QM9's own geometries, for models of MMFF94 geometries too: which atoms
are bonded does not depend on the level. Weights stay as they are. It takes three minutes.
"""

from __future__ import annotations

import sys
from pathlib import Path

from molgeo.data.location import data_dir
from molgeo.data.qm9.datamodule import QM9DataModule
from molgeo.training.export import add_domain_record
from molgeo.training.references import domain_of


def main(paths: list[str]) -> None:
    """Write the record into each checkpoint."""
    data = QM9DataModule(data_dir() / "qm9", ("gap",))
    data.setup()
    domain = domain_of(data.molecules, data.parts.train)
    kinds = domain.bond_kinds
    assert kinds is not None
    print(
        f"{kinds.molecules:,} molecules, {len(kinds.counts)} kinds of bonds, {kinds.needed} needed"
    )
    for path in map(Path, paths):
        add_domain_record(path, domain)
        print(path)


if __name__ == "__main__":
    main(sys.argv[1:])
