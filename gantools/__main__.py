"""`python -m gantools`: the same as the console script."""

from gantools.cli import main

main()
