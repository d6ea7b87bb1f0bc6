-- One database a service, made when the volume is new.
CREATE DATABASE prefect;
CREATE DATABASE mlflow;
CREATE DATABASE ledger;
