service mixpanel
