"""Serves SmolLM2 with llama.cpp on 127.0.0.1 until its parent is gone: serve.py FOLDER PORT CONTEXT_TOKENS"""

import os
import pathlib
import sys
import time

folder, port, context_tokens = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
sys.path.insert(0, folder)
import xllamacpp  # noqa: E402

PARALLEL = 2

params = xllamacpp.CommonParams()
params.model.path = str(next(pathlib.Path(folder).rglob("*.gguf")))
params.port = port
params.n_parallel = PARALLEL
params.n_ctx = context_tokens * PARALLEL
params.n_predict = 400
params.cpuparams.n_threads = 1
params.endpoint_slots = True
params.kv_unified = False
server = xllamacpp.Server(params)
print("the model is ready", flush=True)
parent = os.getppid()
while os.getppid() == parent:
    time.sleep(0.5)
