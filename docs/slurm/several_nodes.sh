#!/bin/bash
# Trains on the GPUs of several nodes, with a task for each, and goes on when the time limit is over:
#
#     sbatch docs/slurm/several_nodes.sh dino_focalnet_huge train.init_checkpoint=FILE
#
# The folder of the run has to be on a file system that all nodes share.
#
#SBATCH --job-name=focalnet-d2
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=4
#SBATCH --time=24:00:00
#SBATCH --signal=B:USR1@300
#SBATCH --requeue
#SBATCH --open-mode=append

folder=${FOLDER:-output/slurm-$SLURM_JOB_ID} # a requeued job keeps its number
resume=()
[[ -e $folder/run.json ]] && resume=(--resume)

MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
MASTER_PORT=$((20000 + SLURM_JOB_ID % 20000))
export MASTER_ADDR MASTER_PORT

# The single quotes are right: each task has numbers of its own.
# shellcheck disable=SC2016
srun --kill-on-bad-exit=1 bash -c '
    export RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID
    export WORLD_SIZE=$SLURM_NTASKS LOCAL_WORLD_SIZE=$SLURM_NTASKS_PER_NODE
    export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$SLURM_CPUS_PER_TASK} # the cores of a task are its own
    exec focalnet-d2 train "$@"
' task "$@" train.output_dir="$folder" "${resume[@]}" &
run=$!
time_is_over=
trap 'time_is_over=yes; kill -USR1 $run' USR1 # srun passes it on; the run saves a checkpoint and ends
trap 'kill -TERM $run' TERM                   # from scancel or preemption: likewise

wait $run
status=$?
while kill -0 $run 2>/dev/null; do # a signal has ended the waiting and not the run
    wait $run
    status=$?
done
if [[ $time_is_over && $status != 0 ]]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit $status
