"""Writes answers.jsonl: what the demo model generated, and what an honest node claims for it.

    python tests/golden/honest-answers/capture.py serving/demo_model

Needs torch and transformers. A line is an answer: the temperature it was drawn at, the messages,
the tokens of the prompt with its template, the text as a client gets it, the tokens generated (with
the one that ended it, as vLLM counts). Above 2, which the API allows at most, the model writes
noise: the worst that a tokenizer can be asked to count again.
"""

import json
import sys
from pathlib import Path
from random import Random

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from serving.demo_corpus import draw

TEMPERATURES = (0.7, 1.0, 1.5, 2.0, 3.0, 6.0)
QUESTIONS = 16
ANSWERS = 4
LENGTHS = (16, 40, 120, 200)


def main(folder: str) -> None:
    torch.manual_seed(5)
    rng = Random(3)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    lines = []
    for temperature in TEMPERATURES:
        for sample in [draw(rng) for _ in range(QUESTIONS)]:
            messages = [dict(m) for m in sample.messages if m["role"] != "assistant"]
            prompt = tokenizer.apply_chat_template(
                messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
            )["input_ids"]
            answers = model.generate(
                prompt,
                do_sample=True,
                temperature=temperature,
                top_k=0,
                max_new_tokens=rng.choice(LENGTHS),
                num_return_sequences=ANSWERS,
            )
            for answer in answers:
                ids = answer[prompt.shape[1] :].tolist()
                if tokenizer.eos_token_id in ids:
                    ids = ids[: ids.index(tokenizer.eos_token_id) + 1]
                lines.append(
                    {
                        "temperature": temperature,
                        "messages": messages,
                        "prompt_tokens": prompt.shape[1],
                        "completion_tokens": len(ids),
                        "text": tokenizer.decode(ids, skip_special_tokens=True),
                    }
                )
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    (Path(__file__).parent / "answers.jsonl").write_text(text)


if __name__ == "__main__":
    main(sys.argv[1])
