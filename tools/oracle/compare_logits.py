#!/usr/bin/env python3
"""Compares logits of this program with those of transformers in float32, for any model folder.

    flashmoe logits MODEL --ids ids.txt --out logits.npy
    compare_logits.py MODEL ids.txt logits.npy [--positions]

MODEL may be in Hugging Face's layouts or in MLX's (affine); all weights are held in float32, so it
must fit in memory that way. The relative error of a position is |ours - theirs| / |theirs|, KL is
that of our distribution against theirs, in nats. Exits with 1 where --limit is exceeded.
"""
import argparse

import numpy as np

import layouts
import reference


def log_softmax(logits):
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('model', help='folder of the checkpoint')
    parser.add_argument('ids', help='token ids, one a line')
    parser.add_argument('logits', help='.npy, float32 [tokens, vocabulary]')
    parser.add_argument('--positions', action='store_true', help='print each position')
    parser.add_argument('--limit', type=float, help='largest relative error of all logits together')
    args = parser.parse_args()

    with open(args.ids) as f:
        ids = [int(line) for line in f.read().split()]
    ours = np.load(args.logits)
    config, tensors = layouts.load(args.model)
    theirs = reference.teacher_forced(reference.build(config, tensors), ids)
    if ours.shape != theirs.shape:
        raise SystemExit(f'{args.logits}: shape {ours.shape}, but {args.model} with {len(ids)} ids '
                         f'gives {theirs.shape}')
    if not np.isfinite(ours).all():
        bad = np.count_nonzero(~np.isfinite(ours))
        raise SystemExit(f'{args.logits}: {bad} values are not finite')

    errors = np.linalg.norm(ours - theirs, axis=-1) / np.linalg.norm(theirs, axis=-1)
    p, q = log_softmax(theirs), log_softmax(ours)
    divergence = (np.exp(p) * (p - q)).sum(-1)
    same = ours.argmax(-1) == theirs.argmax(-1)
    if args.positions:
        for i, (error, kl, agrees) in enumerate(zip(errors, divergence, same)):
            print(f'{i:6} id {ids[i]:6} error {error:.3e} kl {kl:.3e}'
                  f'{"" if agrees else " other argmax"}')
    total = reference.relative_error(ours, theirs)
    print(f'positions       {len(ids)}')
    print(f'relative error  all {total:.3e}, median {np.median(errors):.3e}, '
          f'max {errors.max():.3e} at position {errors.argmax()}')
    print(f'KL divergence   mean {divergence.mean():.3e}, max {divergence.max():.3e}')
    print(f'same argmax     {same.sum()} of {len(ids)}')
    if args.limit is not None and total > args.limit:
        raise SystemExit(1)


if __name__ == '__main__':
    main()
