"""`python -m orchestrator` is `tesnap`."""

from orchestrator.cli import main

if __name__ == "__main__":
    main()
