"""One pretrained model, seen the same way whatever library it comes from."""
