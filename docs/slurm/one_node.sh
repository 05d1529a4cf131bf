#!/bin/bash
# Trains on the GPUs of one node and goes on when the time limit is over, until the run is complete:
#
#     sbatch docs/slurm/one_node.sh dino_focalnet_huge train.init_checkpoint=FILE
#
#SBATCH --job-name=focalnet-d2
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=32
#SBATCH --time=24:00:00
#SBATCH --signal=B:USR1@300
#SBATCH --requeue
#SBATCH --open-mode=append

folder=${FOLDER:-output/slurm-$SLURM_JOB_ID} # a requeued job keeps its number
resume=()
[[ -e $folder/run.json ]] && resume=(--resume)

focalnet-d2 train "$@" --num-gpus "${SLURM_GPUS_ON_NODE:-1}" train.output_dir="$folder" "${resume[@]}" &
run=$!
time_is_over=
trap 'time_is_over=yes; kill -USR1 $run' USR1 # the run saves a checkpoint and ends with status 138
trap 'kill -TERM $run' TERM                   # from scancel or preemption: likewise, with status 143

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
