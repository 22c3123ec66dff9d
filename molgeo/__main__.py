"""``python -m molgeo`` is ``molgeo``."""

from molgeo.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
