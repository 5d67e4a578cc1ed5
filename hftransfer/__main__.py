"""`python -m hftransfer`."""

from hftransfer.cli import main

main()
