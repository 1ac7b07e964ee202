"""vLLM's own API server as a process: `python -m serving.vllm_server` and vLLM's arguments."""

from serving import vllm_adapter

if __name__ == "__main__":
    vllm_adapter.run_server()
