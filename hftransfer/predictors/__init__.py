"""Trained models ready to predict: loaded, exported, served."""
