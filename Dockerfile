# A model behind HTTP, computed on processors:
#   pip wheel --no-deps --wheel-dir dist .
#   docker build --tag rareseg .
#   docker run --publish 8000:8000 --volume "$PWD/model:/model:ro" rareseg
FROM python:3.11-slim
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY constraints.txt dist/rareseg-*.whl /tmp/wheels/
RUN pip install --no-cache-dir --constraint /tmp/wheels/constraints.txt --extra-index-url "$TORCH_INDEX" "$(echo /tmp/wheels/rareseg-*.whl)[serve,openvino]"
RUN useradd --create-home service
USER service
EXPOSE 8000
HEALTHCHECK CMD python -c "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health')"
CMD ["rareseg", "serve", "/model", "--host", "0.0.0.0", "--port", "8000"]
