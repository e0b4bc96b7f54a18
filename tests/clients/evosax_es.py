"""evosax: OpenAI-ES on a native id (first argument), through ``GymnaxProblem``."""

import sys

import jax
import optax
from evosax.algorithms import Open_ES
from evosax.problems.networks import MLP, categorical_output_fn
from evosax.problems.rl.gymnax import GymnaxProblem
from task import TASKS, Task, report

GENERATIONS, POPULATION = 100, 64


def train(task: Task) -> tuple[float, float]:
    """Mean fitness (return) of the mean policy before and after."""
    policy = MLP(layer_sizes=(16, task.actions), output_fn=categorical_output_fn)
    problem = GymnaxProblem(task.native, policy, num_rollouts=2, use_normalize_obs=False, env_kwargs=task.arguments)
    key, init_key, state_key, test_key = jax.random.split(jax.random.key(0), 4)
    solution = problem.sample(init_key)
    strategy = Open_ES(POPULATION, solution, optimizer=optax.adam(0.1))
    params = strategy.default_params
    state = strategy.init(state_key, solution, params)
    problem_state = problem.init(state_key)

    def fitness_of_mean(state) -> float:
        population = jax.tree.map(lambda leaf: leaf[None].repeat(16, axis=0), strategy.get_mean(state))
        return float(problem.eval(test_key, population, problem_state)[0].mean())

    def generation(carry, key):
        state, problem_state = carry
        ask_key, eval_key, tell_key = jax.random.split(key, 3)
        population, state = strategy.ask(ask_key, state, params)
        fitness, problem_state, _ = problem.eval(eval_key, population, problem_state)
        state, _ = strategy.tell(tell_key, population, -fitness, state, params)
        return (state, problem_state), fitness.mean()

    before = fitness_of_mean(state)
    keys = jax.random.split(key, GENERATIONS)
    (state, problem_state), _ = jax.jit(lambda c: jax.lax.scan(generation, c, keys))((state, problem_state))
    return before, fitness_of_mean(state)


report("evosax", lambda: train(TASKS[sys.argv[1]]))
