"""Sphinx's configuration: `pip install -e '.[docs]' && sphinx-build docs docs/_build`."""

project = {{ cookiecutter.name|py }}
extensions = ["sphinx.ext.autodoc"{% if cookiecutter.cli %}, "loafer_kit.contrib.sphinx"{% endif %}]
