"""What `stage=` names, and what leads there: command line, schema, plan, pipeline, description."""
