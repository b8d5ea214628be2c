"""Training on a GPU: each step does the same work on the same tensors, so it can be captured and replayed."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam

from workers.functional_network import TrainingForward
from workers.gpu.cuda_graph import capture
from workers.gpu.device_frames import DeviceFrames
from workers.training_run import EpochPlan, Trainee, TrainingState, copy_state


class DeviceRun:
    """One phase of a network's training. Batches are gathered on the device that holds model and frames.

    On a GPU its work goes to a stream of its own, and only `finish_epoch` waits for it. Where `is_captured`, a full
    batch is one CUDA graph. The short batch that ends an epoch is run operation by operation: padding it would change
    batch norm's statistics. On a CPU all batches are run so.
    """

    def __init__(
        self, trainee: Trainee, forward: TrainingForward, frames: DeviceFrames, batch_size: int, is_captured: bool
    ) -> None:
        """Training goes on from the optimizer's state; the trainee's optimizer itself stays as it is."""
        device = frames.labels.device
        self._trainee, self._forward, self._frames = trainee, forward, frames
        self._batch_size, self._n_steps = batch_size, math.ceil(len(frames) / batch_size)
        self._order = torch.arange(len(frames), device=device)
        self._offsets = torch.arange(batch_size, device=device)
        self._steps_done = torch.zeros(1, dtype=torch.int64, device=device)
        self._total_loss = torch.zeros((), dtype=torch.float64, device=device)
        rate_dtype = torch.float32 if device.type == "cuda" else torch.float64  # as the fused optimizers read it
        self._learning_rate = torch.zeros((), dtype=rate_dtype, device=device)
        self._learning_rates = self._learning_rate.new_zeros(self._n_steps)
        self._optimizer = _make_capturable(trainee.optimizer, self._learning_rate)
        self._stream: torch.cuda.Stream | None = None
        self._replay: Callable[[], None] | None = None
        self._steps_left = 0
        self._plan = EpochPlan(self._order, ())
        self.held: TrainingState | None = None
        if device.type != "cuda":
            return
        torch.backends.cudnn.allow_tf32 = False  # torch's default rounds what convolutions read to 11 bits
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._stream.wait_stream(torch.cuda.current_stream(device))
        if is_captured and len(frames) >= batch_size:
            self._replay = capture(lambda: self._run_batch(batch_size), self.list_state(), self._stream)

    def run_epoch(self, plan: EpochPlan) -> float:
        """Mean loss over the epoch's frames, nats."""
        return run_together([self], [plan])[0]

    def begin_epoch(self, plan: EpochPlan) -> None:
        """Sets order and learning rates of the next steps."""
        if self._stream is not None:  # what the caller still reads, to write a checkpoint, say
            self._stream.wait_stream(torch.cuda.current_stream(self._stream.device))
        with self._on_stream():
            self._order.copy_(plan.order)
            self._learning_rates.copy_(torch.tensor(plan.learning_rates, dtype=torch.float64))
            self._steps_done.zero_()
            self._total_loss.zero_()
        self._steps_left = self._n_steps
        self._plan = plan

    def step(self) -> bool:
        """Starts the epoch's next step; False where there is none."""
        if self._steps_left == 0:
            return False
        step = self._n_steps - self._steps_left
        n_frames = min(self._batch_size, len(self._frames) - step * self._batch_size)
        with self._on_stream():
            if n_frames == self._batch_size and self._replay is not None:
                self._replay()
            else:
                self._run_batch(n_frames)
            if step in self._plan.prunings:
                assert self._trainee.pruner is not None  # a phase with a ramp is given one
                self._trainee.pruner.prune(self._plan.prunings[step], self._optimizer)
        if step == self._plan.held_step:
            with self._on_stream():
                self.held = copy_state(self._trainee, self.optimizer_state())
        self._steps_left -= 1
        return True

    def finish_epoch(self) -> float:
        """Waits for all steps; the mean loss over the epoch's frames, nats."""
        with self._on_stream():
            return self._total_loss.item() / len(self._frames)

    def optimizer_state(self) -> dict[str, Any]:
        """What `Adam.load_state_dict` takes, in the form of the trainee's optimizer."""
        with self._on_stream():
            state = self._optimizer.state_dict()["state"]
            steps = torch.stack([values["step"] for values in state.values()]).cpu()
        plain = {
            number: values | {"step": step}
            for (number, values), step in zip(state.items(), steps.unbind(), strict=True)
        }
        return {"state": plain, "param_groups": self._trainee.optimizer.state_dict()["param_groups"]}

    def list_state(self) -> list[Tensor]:
        """All tensors that a step changes."""
        moments = [value for values in self._optimizer.state.values() for value in values.values()]
        counters = [self._steps_done, self._total_loss, self._learning_rate]
        model = self._trainee.model
        return [*model.parameters(), *model.buffers(), *moments, *counters]

    def _run_batch(self, n_frames: int) -> None:
        self._learning_rate.copy_(self._learning_rates.index_select(0, self._steps_done).squeeze(0))
        places = self._steps_done * self._batch_size + self._offsets[:n_frames]
        frames, labels = self._frames.gather(self._order.index_select(0, places))
        loss = nn.functional.cross_entropy(self._forward(frames), labels)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        if self._trainee.pruner:
            self._trainee.pruner.apply()
        self._total_loss.add_(loss.detach().double(), alpha=n_frames)
        self._steps_done.add_(1)

    def _on_stream(self) -> contextlib.AbstractContextManager[object]:
        return contextlib.nullcontext() if self._stream is None else torch.cuda.stream(self._stream)


def run_together(runs: Sequence[DeviceRun], plans: Sequence[EpochPlan]) -> list[float]:
    """One epoch of each run, a step of each in turn. Their mean losses are those that each would have alone."""
    for run, plan in zip(runs, plans, strict=True):
        run.begin_epoch(plan)
    while sum(run.step() for run in runs):
        pass
    return [run.finish_epoch() for run in runs]


def _make_capturable(optimizer: Adam, learning_rate: Tensor) -> Adam:
    """The same optimizer as one kernel that reads its learning rate from a tensor. Its state exists from the start."""
    groups = [{"params": group["params"], "weight_decay": group["weight_decay"]} for group in optimizer.param_groups]
    capturable = Adam(groups, lr=learning_rate, fused=True, capturable=True)
    # else torch warns where a step is not captured, which warm-up and the batch that ends an epoch are not
    capturable._warned_capturable_if_run_uncaptured = True
    for parameter in (parameter for group in groups for parameter in group["params"]):
        known = optimizer.state.get(parameter, {})
        capturable.state[parameter] = {
            "step": torch.tensor(float(known.get("step", 0.0)), device=parameter.device),
            **{
                name: known[name].clone() if name in known else torch.zeros_like(parameter)
                for name in ("exp_avg", "exp_avg_sq")
            },
        }
    return capturable
