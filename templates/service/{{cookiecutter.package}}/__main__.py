{% set package = cookiecutter.package %}
"""Lets `python -m {{ package }}` run in the folder above as it does in this one.

From above, Python takes this folder for the package, which is the folder within it.
"""

import runpy
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.modules.pop({{ package|py }}, None)
# An import would not run what `python -m` runs.
runpy.run_module({{ package|py }}, run_name="__main__", alter_sys=True)
