"""The tests of hftransfer, one file per room of the package."""
