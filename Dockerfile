# GPU image: libtorch and CUDA come with PyTorch's runtime image, Deno is copied in.
#   docker build -t lorikeet .
#   docker run --gpus all --user "$(id -u):$(id -g)" \
#     -v "$PWD/output:/lorikeet/output" lorikeet train --device cuda:0
ARG PYTORCH=2.13.0-cuda13.0-cudnn9-runtime
ARG DENO=2.9.6

FROM denoland/deno:bin-${DENO} AS deno

FROM pytorch/pytorch:${PYTORCH}
COPY --from=deno /deno /usr/local/bin/deno

# the folder of torch differs between images, so it gets a fixed name
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN ln -s "$(python3 -c 'import importlib.util as u; print(u.find_spec("torch").submodule_search_locations[0])')" /opt/libtorch \
  && test -e /opt/libtorch/lib/libtorch_cuda.so
ENV LIBTORCH=/opt/libtorch \
  DENO_DIR=/opt/deno \
  DENO_NO_UPDATE_CHECK=1 \
  HOME=/lorikeet

# any user may write the caches and the adapter
WORKDIR /lorikeet
COPY . .
RUN deno cache tasks/*.ts \
  && mkdir -p output \
  && chmod -R a+rwX /opt/deno output \
  && chmod a+rwx .
USER 1000:1000

ENTRYPOINT ["deno", "task"]
CMD ["train"]
