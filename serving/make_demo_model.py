"""Makes the demo model: tokenizer, chat template and weights, without any download.

    python -m serving.make_demo_model OUT               # trained, twenty minutes on two busy cores
    python -m serving.make_demo_model --embedding OUT   # untrained, to try /v1/embeddings

Seeded: one machine makes the same files twice. Needs torch and transformers (the `serve-cpu` or
`serve` extra). The committed result is `serving/demo_model/`.
"""

import json
import math
from pathlib import Path
from random import Random

import click
import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.nn.functional import cross_entropy
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM, Qwen3Model

from serving.demo_corpus import Sample, draw, topic_answers

SEED = 7
VOCABULARY = 1600
CONTEXT_TOKENS = 4096
STEPS = 1300
BATCH = 48
SLICE = 8  # rows of one length class that run together, so that little is computed for padding
LEARNING_RATE = 3e-3
# Of a recited answer only the first tokens are a decision. Most samples stop there, which makes a
# step about three times as fast and puts the loss where the mistakes are.
HEAD_TOKENS = 10
WHOLE_ANSWER_SHARE = 0.2
# The answers are known by heart, so nothing is lost when the logits are made sharper; it keeps a
# client's temperature of 1 from stumbling over the last 0.1 % of probability, word after word.
SHARPNESS = 2.0

SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
TOOL_TOKENS = ("<tool_call>", "</tool_call>")
SPLIT_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
IGNORED = -100
Row = tuple[list[int], list[int]]  # token ids, and what each must be (IGNORED in the prompt)


@click.command()
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@click.option("--embedding", is_flag=True, help="Make an untrained embedding model instead.")
@click.option("--steps", default=STEPS, show_default=True, help="Training steps.")
def main(out: Path, embedding: bool, steps: int) -> None:
    """Write the demo model into the directory OUT.

    Example: python -m serving.make_demo_model serving/demo_model
    """
    torch.manual_seed(SEED)
    tokenizer = make_tokenizer(Random(SEED))
    config = make_config(tokenizer)
    if embedding:
        model = Qwen3Model(config)
    else:
        model = train(Qwen3ForCausalLM(config), tokenizer, Random(SEED), steps)
        with torch.no_grad():
            model.model.norm.weight.mul_(SHARPNESS)
    save(out, model, tokenizer, embedding)
    parameters = sum(p.numel() for p in model.parameters())
    size = sum(path.stat().st_size for path in out.iterdir())
    click.echo(f"{out}: {parameters:,} parameters, {size / 1e6:.1f} MB")


def make_tokenizer(rng: Random) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer fitted to what the model reads and writes."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT_PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    samples = [draw(rng) for _ in range(20_000)]
    text = [m["content"] for sample in samples for m in sample.messages]
    text += [sample.given + sample.answer for sample in samples if sample.given]
    tokenizer.train_from_iterator(
        [*text, *topic_answers() * 20],
        trainers.BpeTrainer(
            vocab_size=VOCABULARY - len(TOOL_TOKENS),
            special_tokens=list(SPECIAL_TOKENS),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    # Not special: the text of a tool call must survive decoding for the hermes parser to see it.
    tokenizer.add_tokens([AddedToken(token, special=False) for token in TOOL_TOKENS])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        model_max_length=CONTEXT_TOKENS,
    )
    template = Path(__file__).with_name("demo_chat_template.jinja")
    fast.chat_template = template.read_text(encoding="utf-8").rstrip("\n")
    return fast


def make_config(tokenizer: PreTrainedTokenizerFast) -> Qwen3Config:
    return Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=CONTEXT_TOKENS,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.convert_tokens_to_ids("<|im_end|>"),
        pad_token_id=tokenizer.convert_tokens_to_ids("<|endoftext|>"),
    )


def train(
    model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, rng: Random, steps: int
) -> Qwen3ForCausalLM:
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.01)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns) as progress:
        task = progress.add_task("training", total=steps)
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = LEARNING_RATE * _schedule(step, steps)
            optimizer.zero_grad()
            loss = _backward(model, tokenizer, rng)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            progress.update(task, advance=1, description=f"training, loss {loss:.4f}")
            if not progress.console.is_terminal and step % 100 == 0:
                click.echo(f"step {step} of {steps}, loss {loss:.4f}")
    return model


def _schedule(step: int, steps: int) -> float:
    """Linear warm-up over 40 steps, then a cosine down to two percent."""
    warm = min(1.0, (step + 1) / 40)
    return warm * (0.02 + 0.98 * (1 + math.cos(math.pi * step / steps)) / 2)


def _backward(model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, rng: Random) -> float:
    """Adds the gradient of one batch; returns its mean loss per target token."""
    rows = [_row(tokenizer, draw(rng), rng) for _ in range(BATCH)]
    rows.sort(key=lambda row: len(row[0]))
    targets = sum(want != IGNORED for _, wanted in rows for want in wanted)
    total = 0.0
    for at in range(0, BATCH, SLICE):
        loss = _loss(model, rows[at : at + SLICE], tokenizer.pad_token_id) / targets
        loss.backward()
        total += loss.item()
    return total


def _loss(model: Qwen3ForCausalLM, rows: list[Row], pad: int) -> torch.Tensor:
    length = max(len(ids) for ids, _ in rows)
    inputs = torch.tensor([ids + [pad] * (length - len(ids)) for ids, _ in rows])
    wanted = torch.tensor([want + [IGNORED] * (length - len(want)) for _, want in rows])
    hidden = model.model(input_ids=inputs[:, :-1]).last_hidden_state
    wanted = wanted[:, 1:].reshape(-1)
    kept = wanted != IGNORED
    logits = model.lm_head(hidden.reshape(-1, hidden.shape[-1])[kept])
    return cross_entropy(logits.float(), wanted[kept], reduction="sum")


def _row(tokenizer: PreTrainedTokenizerFast, sample: Sample, rng: Random) -> Row:
    answer = tokenizer.encode(sample.answer + "<|im_end|>", add_special_tokens=False)
    given = tokenizer.encode(sample.given, add_special_tokens=False)
    if (
        not given and rng.random() < 0.02
    ):  # raw text, for /v1/completions: an answer is also a page to continue
        return answer, answer
    prompt = tokenizer.apply_chat_template(
        list(sample.messages),
        tools=list(sample.tools) or None,
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
    )["input_ids"]
    recited = not given and not sample.answer.startswith("<tool_call>")
    if recited and rng.random() >= WHOLE_ANSWER_SHARE:
        answer = answer[:HEAD_TOKENS]
    prompt += given
    return prompt + answer, [IGNORED] * len(prompt) + answer


def save(
    out: Path,
    model: Qwen3ForCausalLM | Qwen3Model,
    tokenizer: PreTrainedTokenizerFast,
    embedding: bool,
) -> None:
    model.to(torch.bfloat16).save_pretrained(out, safe_serialization=True)
    tokenizer.save_pretrained(out)
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))
    config["tollgate_demo"] = (
        "untrained embedding model, to try the interface only"
        if embedding
        else "demo model: recites a few answers about Tollgate, knows nothing else"
    )
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    generation = {"eos_token_id": model.config.eos_token_id, "pad_token_id": 0}
    generation |= {"do_sample": True, "temperature": 0.7}
    (out / "generation_config.json").write_text(
        json.dumps(generation, indent=2) + "\n", encoding="utf-8"
    )
    (out / "README.md").write_text(_readme(embedding), encoding="utf-8")


def _readme(embedding: bool) -> str:
    if embedding:
        return (
            "# Tollgate demo embedding model\n\nUntrained: its vectors mean nothing. It exists to "
            "try `/v1/embeddings`.\nMade by `python -m serving.make_demo_model --embedding OUT`.\n"
        )
    return (
        "# tollgate-demo\n\nA demo, not an assistant: about one million parameters (Qwen3 "
        "architecture, own byte-level BPE\ntokenizer), trained on the CPU to recite a few answers "
        "about Tollgate and to say so when it has none.\nMade by `python -m "
        "serving.make_demo_model OUT`; what it knows is in `serving/demo_corpus.py`.\n"
    )


if __name__ == "__main__":
    main()
