"""The configuration of Sphinx.

`pip install -e '.[docs]' && sphinx-build docs docs/_build` writes the pages.
"""

project = {{ cookiecutter.name|py }}
extensions = ["sphinx.ext.autodoc"{% if cookiecutter.cli %}, "loafer_kit.contrib.sphinx"{% endif %}]
