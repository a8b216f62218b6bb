"""One page that tells a run, or several side by side: charts.py draws, views.py looks through the pair, page.py joins.

Imports config, data, gan, metrics and runtime.
"""
