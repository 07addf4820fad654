"""PPO as a script in plain transformers and PEFT: TRL has no trainer for it, so the whole loop is there to be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backend.recipes.ppo import PpoParams


def loop(params: PpoParams) -> str:
    """From `model`, `tokenizer`, `dataset` (or `parts`) and `reward` to a trained model in the folder `adapter`."""
    rows = params.per_device_train_batch_size * params.gradient_accumulation_steps
    copied = params.adapter == "full" or bool(params.start_from)
    values = {
        "ROWS": rows,
        "STEPS": params.max_steps or f"max(1, round({params.num_train_epochs:g} * len(learn) / ROWS))",
        "EPOCHS": params.num_ppo_epochs,
        "MINIBATCH": -(-rows // params.num_mini_batches),
        "NEW_TOKENS": params.max_completion_length,
        "PROMPT_TOKENS": params.max_length - params.max_completion_length,
        "TEMPERATURE": f"{params.temperature:g}",
        "KL_COEF": f"{params.kl_coef:g}",
        "CLIP, VALUE_CLIP, VALUE_WEIGHT": f"{params.cliprange:g}, {params.cliprange_value:g}, {params.vf_coef:g}",
        "GAMMA, LAMBDA": f"{params.gamma:g}, {params.lam:g}",
        "MISSING_END": f"{params.missing_eos_penalty:g}",
    }
    text = _LOOP.replace("LEARN", 'parts["train"]' if params.eval_rows else "dataset")
    text = text.replace("SETTINGS\n", "".join(f"{name} = {value}\n" for name, value in values.items()))
    text = text.replace(
        "BASE\n", "base = copy.deepcopy(model).eval()  # answers may not leave it far\n" if copied else ""
    )
    text = text.replace("OTHER", "base" if copied else "model")
    text = text.replace("WITHOUT", "contextlib.nullcontext()" if copied else "model.disable_adapter()")
    text = text.replace("RATE", f"{params.learning_rate:g}").replace("DECAY", f"{params.weight_decay:g}")
    text = text.replace("HEAD_SCALE", f"{params.value_lr_scale:g}").replace("LONGEST", f"{params.max_grad_norm:g}")
    warmup = f"{params.warmup_steps:g}" + ("" if params.warmup_steps >= 1 else " * STEPS")
    text = text.replace("WARMUP", warmup).replace("SCHEDULE", f'"{params.lr_scheduler_type}"')
    target = "" if params.kl_target is None else _ADAPTS.replace("TARGET", f"{params.kl_target:g}")
    return text.replace("ADAPTS\n", target.replace("HORIZON", str(params.kl_horizon))).replace("SEED", str(params.seed))


_ADAPTS = """    KL_COEF *= 1 + max(-0.2, min(0.2, kl.item() / TARGET - 1)) * ROWS / HORIZON
"""
_LOOP = '''
learn = LEARN
SETTINGS
set_seed(SEED)
device = "cuda" if torch.cuda.is_available() else "cpu"
model.to(device)
BASE
for module in model.modules():
    if isinstance(module, torch.nn.Dropout):
        module.p = 0.0  # the ratio of the new policy to the old must be 1 where nothing has been learned
trained = [weight for weight in model.parameters() if weight.requires_grad]
for weight in trained:
    weight.data = weight.data.float()
head = torch.nn.Linear(model.config.hidden_size, 1, device=device)  # what it expects to earn from here on
torch.nn.init.zeros_(head.weight)
torch.nn.init.zeros_(head.bias)
groups = [{"params": trained, "lr": RATE}, {"params": list(head.parameters()), "lr": RATE * HEAD_SCALE}]
optimizer = torch.optim.AdamW(groups, weight_decay=DECAY, eps=1e-5)
schedule = get_scheduler(SCHEDULE, optimizer, math.ceil(WARMUP), STEPS)


def templated(prompt):
    plain = isinstance(prompt, str)
    text = prompt if plain else tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True)
    return tokenizer(text, add_special_tokens=plain)["input_ids"][-PROMPT_TOKENS:]


def write(prompts):
    """What is drawn from the policy for each prompt, up to its end token."""
    width = max(map(len, prompts))
    ids = torch.tensor([[tokenizer.pad_token_id] * (width - len(p)) + p for p in prompts], device=device)
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=device)
    with torch.no_grad():
        made = model.generate(
            input_ids=ids, attention_mask=mask, max_new_tokens=NEW_TOKENS, do_sample=True, temperature=TEMPERATURE,
            top_k=0, top_p=1.0, pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id,
        )
    said = made[:, width:].tolist()
    end = tokenizer.eos_token_id
    return [row[: row.index(end) + 1] if end in row else row for row in said]


def read(model, prompts, said):
    """Log-probabilities and values of the tokens said, and where they are: rows × tokens."""
    width, longest = max(len(p) + len(s) for p, s in zip(prompts, said)), max(map(len, said))
    ids = torch.full((len(prompts), width), tokenizer.pad_token_id)
    seen, mask = torch.zeros_like(ids), torch.zeros(len(prompts), longest, dtype=torch.bool)
    places = torch.zeros(len(prompts), longest, dtype=torch.long)
    tokens = torch.zeros_like(places)
    for row, (p, s) in enumerate(zip(prompts, said)):
        ids[row, : len(p) + len(s)], seen[row, : len(p) + len(s)] = torch.tensor(p + s), 1
        mask[row, : len(s)], tokens[row, : len(s)] = True, torch.tensor(s)
        places[row, : len(s)] = torch.arange(len(p) - 1, len(p) + len(s) - 1)
    mask, tokens, places = mask.to(device), tokens.to(device), places.to(device)
    output = model(input_ids=ids.to(device), attention_mask=seen.to(device), output_hidden_states=True)
    rows = torch.arange(len(prompts), device=device)[:, None]
    logits = output.logits[:, -width:][rows, places].float() / TEMPERATURE
    hidden = output.hidden_states[-1][:, -width:][rows, places].float()
    logprobs = logits.log_softmax(-1).gather(-1, tokens[..., None]).squeeze(-1)
    return logprobs * mask, head(torch.nn.functional.layer_norm(hidden, hidden.shape[-1:])).squeeze(-1) * mask, mask


for step in range(STEPS):
    picked = learn.select([(step * ROWS + i) % len(learn) for i in range(ROWS)])
    prompts = [templated(prompt) for prompt in picked["prompt"]]
    said = write(prompts)
    texts = tokenizer.batch_decode(said, skip_special_tokens=True)
    chat = not isinstance(picked["prompt"][0], str)
    completions = [[{"role": "assistant", "content": text}] for text in texts] if chat else texts
    columns = {"reference": picked["reference"]} if "reference" in picked.column_names else {}
    scores = torch.tensor(reward(prompts=picked["prompt"], completions=completions, **columns), device=device)
    cut_off = torch.tensor([row[-1] != tokenizer.eos_token_id for row in said], device=device)
    with torch.no_grad():
        old, values, mask = read(model, prompts, said)
        with WITHOUT:
            base_logprobs, _, _ = read(OTHER, prompts, said)
        rewards = -KL_COEF * (old - base_logprobs)
        rewards[torch.arange(ROWS), mask.sum(1) - 1] += scores - MISSING_END * cut_off
        advantages, ahead, following = torch.zeros_like(rewards), 0.0, 0.0
        for t in reversed(range(rewards.shape[1])):  # generalised advantage estimation, arXiv 1506.02438
            delta = rewards[:, t] + GAMMA * following - values[:, t]
            ahead = (delta + GAMMA * LAMBDA * ahead) * mask[:, t]
            advantages[:, t], following = ahead, values[:, t]
        returns = advantages + values
        there = advantages[mask]
        advantages = (advantages - there.mean()) / (there.var(unbiased=False) + 1e-8).sqrt() * mask
        kl = (old - base_logprobs).sum(1).mean()
    for _ in range(EPOCHS):
        order = torch.randperm(ROWS).tolist()
        for rows in (order[i : i + MINIBATCH] for i in range(0, ROWS, MINIBATCH)):
            logprobs, value, now = read(model, [prompts[i] for i in rows], [said[i] for i in rows])
            width = now.shape[1]
            ratio = (logprobs - old[rows, :width]).exp()  # the clipped objective, arXiv 1707.06347
            gain = advantages[rows, :width]
            policy = torch.maximum(-gain * ratio, -gain * ratio.clamp(1 - CLIP, 1 + CLIP))
            before, wanted = values[rows, :width], returns[rows, :width]
            held = before + (value - before).clamp(-VALUE_CLIP, VALUE_CLIP)
            error = 0.5 * torch.maximum((value - wanted) ** 2, (held - wanted) ** 2)
            loss = ((policy + VALUE_WEIGHT * error) * now).sum() / now.sum()
            loss.backward()
            torch.nn.utils.clip_grad_norm_([*trained, *head.parameters()], LONGEST or float("inf"))
            optimizer.step()
            optimizer.zero_grad()
    schedule.step()
ADAPTS
    print({"step": step + 1, "score": scores.mean().item(), "kl": kl.item(), "loss": loss.item()})
model.save_pretrained("adapter")
tokenizer.save_pretrained("adapter")
'''
