"""Exercises, a file per notebook (n18_lora.py for 18_lora.ipynb): references, hints, wrong answers."""
