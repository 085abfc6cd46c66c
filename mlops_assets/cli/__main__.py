"""``python -m mlops_assets.cli``: the same as ``mlops-assets``."""

from mlops_assets.cli.app import main

if __name__ == "__main__":
    main()
