"""What Axolotl calls the fields of a spec, for advice to those who know its names."""

from __future__ import annotations

from collections.abc import Mapping

AXOLOTL_NAMES: Mapping[str, str] = {
    "adapter": "adapter.kind",
    "base_model": "base_model",
    "cosine_min_lr_ratio": "training.min_lr_ratio",
    "datasets": "dataset.source",
    "early_stopping_patience": "training.early_stopping.patience",
    "eval_steps": "training.eval_steps",
    "gradient_accumulation_steps": "training.batch_size",
    "gradient_checkpointing": "training.gradient_checkpointing",
    "batch_size": "training.batch_size",
    "learning_rate": "training.learning_rate",
    "load_in_4bit": "adapter.kind",
    "lora_alpha": "adapter.alpha",
    "lora_dropout": "adapter.dropout",
    "lora_model_dir": "adapter.continue_from",
    "lora_r": "adapter.r",
    "lora_target_linear": "adapter.target_modules",
    "lora_target_modules": "adapter.target_modules",
    "lr_scheduler": "training.scheduler",
    "max_grad_norm": "training.max_grad_norm",
    "max_steps": "training.max_steps",
    "micro_batch_size": "training.micro_batch_size",
    "mlflow_experiment_name": "tracking.experiment",
    "mlflow_run_name": "name",
    "num_epochs": "training.epochs",
    "pretraining_dataset": "dataset.source",
    "sample_packing": "training.packing",
    "save_steps": "training.checkpoint_steps",
    "seed": "training.seed",
    "sequence_len": "training.sequence_len",
    "streaming": "training.streaming",
    "test_datasets": "dataset.validation",
    "val_set_size": "dataset.validation",
    "warmup_ratio": "training.warmup_ratio",
    "warmup_steps": "training.warmup_ratio",
    "weight_decay": "training.weight_decay",
}
