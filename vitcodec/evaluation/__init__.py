"""Measuring codecs, and reports of what was measured.

engine.py encodes and decodes real files, measures.py has the table of measures, results.py what comes of it. A
Comparison of several codecs becomes text, CSV and JSON in report.py and one HTML file in page.py.
"""
