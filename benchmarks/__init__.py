"""What the figures in the README come from: ``plain`` is what the product is measured against, ``run`` measures."""
