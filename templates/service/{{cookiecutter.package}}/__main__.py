{% set package = cookiecutter.package %}
"""Lets `python -m {{ package }}` run in the folder above as it does in this one.

There Python takes this folder for the package, until it is told of the one in it.
"""

import runpy
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.modules.pop({{ package|py }}, None)
runpy.run_module({{ package|py }}, run_name="__main__", alter_sys=True)
