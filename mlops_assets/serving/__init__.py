"""The model server: HTTP answers of the model in production, by MLflow's scoring protocol."""
