{% set package = cookiecutter.package %}
"""Lets `python -m {{ package }}` run from the folder above as well as from this one."""

import runpy
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.modules.pop({{ package|py }}, None)  # seen from above, the name means this folder
runpy.run_module({{ package|py }}, run_name="__main__", alter_sys=True)
