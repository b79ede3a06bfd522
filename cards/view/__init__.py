"""The page that shows a run: served row by row from the run's files (`factory view`), or as one file (`report.html`).

page/ holds its HTML, CSS and JavaScript as they are written, without a build step; katex/ holds KaTeX 0.19.1 (MIT, its text
beside it) for the mathematics, so that no network is ever needed.
"""
