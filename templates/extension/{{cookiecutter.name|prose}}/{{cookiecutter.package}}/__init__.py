"""{{ cookiecutter.class_name }}: an extension of loafer_kit."""

from {{ cookiecutter.package }}.extension import {{ cookiecutter.class_name }}

__all__ = ["{{ cookiecutter.class_name }}"]
