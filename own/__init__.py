"""Your own: functions as tools (`tools.own.functions: [own.units:convert]`), problems as JSON Lines. See examples/."""
