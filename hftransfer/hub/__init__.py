"""What goes to the Hub: the model card first of all."""
