"""What a person sees: Gradio over the Lab."""
