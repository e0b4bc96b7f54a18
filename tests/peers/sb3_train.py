"""The adapter's training on the task that tests/clients has of a problem (first argument)."""

import json
import sys

from task import TASKS
from train_sb3 import train

task = TASKS[sys.argv[1]]
print(json.dumps({**train(task.native, int(sys.argv[2]), 0, **task.arguments), "bound": task.bound}))
