"""Packaging of torchreid_vi: what it imports, and what torchreid imports without declaring."""

import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py


class WithConfigs(build_py):
    """Put configs/ into the package, where an installed command finds it."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib, "torchreid_vi", "configs")
            shutil.copytree(Path(__file__).parent / "configs", target, dirs_exist_ok=True)


setup(
    name="torchreid_vi",
    version="0.1.0",
    description="Visible-infrared person re-identification for torchreid",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.10,<3.14",
    cmdclass={"build_py": WithConfigs},
    entry_points={"console_scripts": ["torchreid-vi = torchreid_vi.cli:main"]},
    packages=find_packages(include=["torchreid_vi", "torchreid_vi.*"]),
    # An editable install then writes a path, not an import hook, which comes too late beside a clone named
    # torchreid_vi: Python takes that folder for a namespace package first.
    package_dir={"": "."},
    package_data={"torchreid_vi": ["data/*.csv", "report/templates/*", "sharing/templates/*", "py.typed"]},
    install_requires=[
        "torch>=2.6",
        "torchvision>=0.21",
        "torchreid>=0.2.5",
        "yacs>=0.1.8",
        "pyyaml>=6.0",
        "numpy>=2.0",
        "pillow>=10.3",
        "gdown>=5.0",
        "tqdm>=4.66",
        "filelock>=3.13",
        "safetensors>=0.4.5",
        "jinja2>=3.1",
        "matplotlib>=3.9",
        # Imported by torchreid, which declares nothing; scipy also re-ranks and matches permutations.
        "scipy>=1.13",
        "opencv-python-headless>=4.10.0.84",
        "tensorboard>=2.17.1",
        "six>=1.16",
    ],
    extras_require={
        # For tools/index.py.
        "search": ["faiss-cpu>=1.9"],
        # For tools/export.py.
        "export": ["onnx>=1.17", "onnxscript>=0.7", "onnxruntime>=1.20"],
        # For tools/demo.py.
        "demo": ["gradio>=6.24"],
        # For weights named hf://OWNER/NAME.
        "share": ["huggingface_hub>=1.16"],
        # For the pages in docs/; ziamath draws their formulas.
        "docs": ["sphinx>=8", "myst-parser>=4", "furo>=2024.8.6", "ziamath>=0.12"],
        # lightly is for studies/mmgl: its rival SimCLR; the last three are for docs/tour.ipynb.
        "test": [
            "pytest>=8",
            "pytest-xdist>=3.6",
            "hypothesis>=6.100",
            "ruff>=0.9",
            "mypy>=1.13",
            "types-PyYAML",
            "types-tqdm",
            "lightly>=1.5.11",
            "faiss-cpu>=1.9",
            "onnx>=1.17",
            "onnxscript>=0.7",
            "onnxruntime>=1.20",
            "gradio>=6.24",
            "huggingface_hub>=1.16",
            "sphinx>=8",
            "myst-parser>=4",
            "furo>=2024.8.6",
            "ziamath>=0.12",
            "nbclient>=0.10",
            "nbformat>=5.10",
            "ipykernel>=6.29",
        ],
    },
)
