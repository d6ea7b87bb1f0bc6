"""What a retrain costs in time, memory, storage and money, predicted from what runs on record cost."""
