#!/usr/bin/env python3
"""Kills `flashmoe pack` at random moments and flips bits of what it wrote.

usage: check_pack.py FLASHMOE MODEL --work DIR [--kills 50] [--flips 12] [--seed 1] [--memory SIZE]

1. Packs MODEL undisturbed. Then again, killed (SIGKILL) after random times until it was killed often enough, each time
   going on by the same command; every store that comes to its end must have the same bytes.
2. For every file of the store, flips random bits, one at a time: `pack --verify` must fail, and so must `run --checksums`
   before it prints another token than the undisturbed store gives, or the whole answer is right as it does not read that
   place. With --memory, every other run has that much, so that it streams its experts.
"""
import argparse
import hashlib
import os
import random
import shutil
import subprocess
import time


def digest(folder):
    result = {}
    for root, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(root, name)
            with open(path, 'rb') as file:
                result[os.path.relpath(path, folder)] = hashlib.file_digest(file, 'sha256').hexdigest()
    return result


def pack(options, out):
    return subprocess.Popen([options.flashmoe, 'pack', options.model, out], stderr=subprocess.DEVNULL)


def check_kills(options, random, right, seconds):
    out = os.path.join(options.work, 'killed')
    kills = stores = longest = in_a_row = 0
    while kills < options.kills or in_a_row > 0:
        process = pack(options, out)
        # Half of them anywhere in the time of a whole run, half early, where a run that goes on looks for what is there.
        limit = seconds if random.random() < 0.5 else seconds / 8
        try:
            code = process.wait(random.uniform(0, limit) if kills < options.kills else None)
        except subprocess.TimeoutExpired:
            process.kill()  # our own child
            process.wait()
            kills += 1
            in_a_row += 1
            if os.path.exists(out):
                assert digest(out) == right, 'the store has its name before it is whole'
                if not [n for n in os.listdir(options.work) if n.startswith('.')]:
                    shutil.rmtree(out)  # nothing is left to be done
                    stores, longest, in_a_row = stores + 1, max(longest, in_a_row), 0
            continue
        assert code == 0, f'pack ended with {code} after {in_a_row} kills'
        assert digest(out) == right, f'a store after {in_a_row} kills differs'
        assert not [n for n in os.listdir(options.work) if n.startswith('.')], 'something is left'
        shutil.rmtree(out)
        stores, longest, in_a_row = stores + 1, max(longest, in_a_row), 0
    print(f'{kills} kills: {stores} stores came to their end, up to {longest} kills before one, all with the bytes of an '
          'undisturbed run', flush=True)


def answer(options, store, streamed):
    """Exit code, text and errors of a greedy answer, which uses tokenizer, template, dense weights and experts."""
    command = [options.flashmoe, 'run', store, options.prompt, '-n', '32', '--temp', '0', '--checksums', '-q']
    run = subprocess.run(command + (['--memory', options.memory] if streamed else []), capture_output=True)
    return run.returncode, run.stdout, run.stderr


def check_flips(options, random, store):
    code, right, error = answer(options, store, False)
    assert code == 0 and right, error
    names = sorted(digest(store))
    flips = refused = not_read = midway = 0
    for name in names:
        path = os.path.join(store, name)
        for _ in range(options.flips):
            at, bit = random.randrange(os.path.getsize(path)), random.randrange(8)
            with open(path, 'r+b') as file:
                file.seek(at)
                was = file.read(1)[0]
                file.seek(at)
                file.write(bytes([was ^ 1 << bit]))
            place = f'bit {bit} of byte {at} of {name}'
            verify = subprocess.run([options.flashmoe, 'pack', '--verify', store], capture_output=True, text=True)
            assert verify.returncode == 1, f'--verify did not find {place}'
            code, got, error = answer(options, store, options.memory is not None and flips % 2 == 1)
            if code == 0:
                assert got == right, f'{place} changed the answer'
            else:
                text = got.rstrip(b'\n')
                assert code == 1 and right.startswith(text), f'{place}: exit code {code}, {got!r}, {error!r}'
                midway += bool(text)
            flips, refused, not_read = flips + 1, refused + (code == 1), not_read + (code == 0)
            with open(path, 'r+b') as file:
                file.seek(at)
                file.write(bytes([was]))
    verify = subprocess.run([options.flashmoe, 'pack', '--verify', store], capture_output=True, text=True)
    assert verify.returncode == 0, verify.stderr
    print(f'{flips} flipped bits in {len(names)} files: --verify found all; with --checksums {refused} runs were refused '
          f'({midway} of them after right tokens), {not_read} did not read the place and gave the right answer', flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('flashmoe')
    parser.add_argument('model')
    parser.add_argument('--kills', type=int, default=50)
    parser.add_argument('--flips', type=int, default=12)
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--prompt', default='Which is the capital of France?')
    parser.add_argument('--memory')
    parser.add_argument('--work', required=True)
    options = parser.parse_args()
    os.makedirs(options.work)
    store = os.path.join(options.work, 'store')
    begin = time.monotonic()
    assert pack(options, store).wait() == 0
    seconds = time.monotonic() - begin
    right = digest(store)
    size = sum(os.path.getsize(os.path.join(store, name)) for name in right)
    print(f'{options.model}: {len(right)} files, {size / 2 ** 20:.1f} MiB, packed in {seconds:.2f} s', flush=True)
    check_kills(options, random.Random(options.seed), right, seconds)
    check_flips(options, random.Random(options.seed), store)
    shutil.rmtree(options.work)


if __name__ == '__main__':
    main()
