"""A web page on a trained pair: looking.py is what it can do, page.py how it looks. Imports data, gan, runtime."""
